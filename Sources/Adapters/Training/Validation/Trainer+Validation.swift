import LorikeetRuntime

extension Trainer {
    /// Measures the run on `rows`, and remembers the factors if they are the best so far.
    ///
    /// - Throws: what `model` throws, and an error naming the rows whose loss is not finite.
    func evaluate(
        _ model: some LossAndGradients, on rows: any TrainingRows, _ state: inout TrainingState
    ) throws -> ValidationMetrics {
        let clock = ContinuousClock()
        let start = clock.now
        let step = state.summary.steps
        var (sum, targets) = (0.0, 0)
        var outputs = TaskOutputs()
        for begin in stride(from: 0, to: rows.count, by: options.batchSize) {
            let batch = begin..<min(begin + options.batchSize, rows.count)
            let part = try evaluate(
                batch.map { try rows.row(at: $0) }, on: model, state.adapter, &outputs)
            guard part.loss.isFinite else {
                throw LorikeetError(
                    .invalidArgument, "validation",
                    "the loss is \(part.loss) after step \(step), in a batch from "
                        + "\(rows.name(of: begin)) to \(rows.name(of: batch.upperBound - 1))",
                    advice: "Lower --learning-rate, or look at these rows.")
            }
            sum += part.loss
            targets += part.targets
        }
        let loss = sum / Double(targets)
        let scores = options.validation.measure.map(outputs.scores) ?? []
        // A metric that has no value, for all outputs are equal, is worse than any.
        let score = scores.first { $0.metric == options.validation.measure?.metric }.map {
            $0.value.isNaN ? -1 : $0.value
        }
        var record =
            state.summary.validation ?? ValidationRecord(loss: loss, score: score, step: step)
        if state.summary.validation != nil {
            record.add(
                loss: loss, score: score, step: step,
                minimumImprovement: options.validation.minimumImprovement)
        }
        state.summary.validation = record
        let isBest = record.bestStep == step
        if isBest { state.best?.remember() }
        return ValidationMetrics(
            step: step, loss: loss, targets: targets, scores: scores, isBest: isBest,
            seconds: (clock.now - start) / .seconds(1))
    }

    /// The loss of some rows; a head's outputs are kept for its metrics.
    private func evaluate(
        _ rows: [TrainingRow], on model: some LossAndGradients, _ adapter: TrainableAdapter,
        _ outputs: inout TaskOutputs
    ) throws -> (loss: Double, targets: Int) {
        guard options.validation.measure != nil, let model = model as? EncoderPass else {
            return try model.evaluate(rows, adapter: adapter)
        }
        let (loss, values) = try model.evaluateOutputs(rows, adapter: adapter)
        outputs.append(values, of: rows)
        return (loss, values.count)
    }

    /// Whether as many evaluations as the run has patience for have brought no improvement.
    ///
    /// It follows from the summary alone, so that a run resumed there ends there.
    func hasStoppedImproving(_ summary: Summary) -> Bool {
        guard let patience = options.validation.patience, let record = summary.validation else {
            return false
        }
        return record.evaluationsSinceImprovement >= patience
    }

    /// Ends a run: its adapter becomes the best, where that was to be kept.
    func end(_ state: inout TrainingState) -> Summary {
        state.summary.isStoppedEarly =
            hasStoppedImproving(state.summary) && state.summary.steps < totalSteps
        state.summary.adapterStep = state.summary.steps
        if let best = state.best, let record = state.summary.validation {
            best.restore()
            state.adapter.publish()
            state.summary.adapterStep = record.bestStep
        }
        return state.summary
    }
}

/// What a head said of rows, and what was expected of it.
private struct TaskOutputs {
    private var outputs: [[Float]] = []
    private var targets: [TrainingRow.Target] = []

    mutating func append(_ values: [[Float]], of rows: [TrainingRow]) {
        outputs += values
        targets += rows.compactMap(\.target)
    }

    func scores(
        _ measure: ValidationOptions.Measure
    ) -> [MetricValue] { measure.task.scores(outputs: outputs, targets: targets) }
}
