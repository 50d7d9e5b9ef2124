public import LorikeetQuant
public import LorikeetRuntime

/// Trains an adapter: one loop over optimizer steps.
public struct Trainer {
    /// What the caller wants after a step.
    public enum Disposition: Sendable {
        /// The next step.
        case proceed
        /// The end: the run returns with the factors it has.
        case stop
    }

    /// What a run came to.
    public struct Summary: Sendable, Equatable {
        /// Steps done.
        public var steps = 0
        /// Whether the caller stopped it before its end.
        public var isStopped = false
        /// The first step's loss.
        public var firstLoss = Double.nan
        /// The last step's loss.
        public var lastLoss = Double.nan
        /// Tokens seen.
        public var tokens = 0
        /// Duration.
        public var seconds = 0.0
    }

    /// How to train.
    public let options: TrainingOptions
    /// Optimizer steps of the whole run.
    public let totalSteps: Int
    private let method: any Method
    private let objective: any Objective
    /// Rows that belong together.
    private let examples: [[TrainingRow]]

    /// Prepares a run over `rows`; rows without a target teach nothing and are left out.
    ///
    /// For an objective that compares rows, those of an example follow each other.
    ///
    /// - Throws: `.invalidArgument` where no row has a target, or an option is out of its range.
    public init(_ rows: [TrainingRow], options: TrainingOptions) throws {
        try options.validate()
        objective = options.makeObjective()
        let size = objective.rowsPerExample
        precondition(rows.count.isMultiple(of: size), "\(rows.count) rows in examples of \(size)")
        examples = stride(from: 0, to: rows.count, by: size)
            .map { Array(rows[$0..<$0 + size]) }
            .filter { $0.allSatisfy { $0.targetCount > 0 } }
        self.options = options
        guard !examples.isEmpty else {
            throw LorikeetError(
                .invalidArgument, "training data",
                rows.isEmpty ? "has no rows" : "has no token to learn: every label is masked")
        }
        let batch = options.batchSize * options.accumulate
        totalSteps =
            switch options.length {
            case .steps(let steps): steps
            case .epochs(let epochs): (examples.count * epochs + batch - 1) / batch
            }
        method = options.method.method(
            MethodSettings(
                totalSteps: totalSteps, refactoringWarmup: options.refactoringWarmup,
                refactoringInterval: options.refactoringInterval))
    }

    /// The beginning of a run that trains `adapter`.
    public func beginning(_ adapter: TrainableAdapter) -> TrainingState {
        TrainingState(
            adapter, optimizer: method.makeOptimizer(for: adapter, options: options.optimizer))
    }

    /// Trains `adapter`, from the beginning, on the gradients that `model` gives.
    ///
    /// - Returns: steps, losses and duration.
    /// - Throws: as `run(_:from:compute:metrics:checkpoints:progress:)`.
    @discardableResult
    public func run(
        _ model: some LossAndGradients, adapter: TrainableAdapter, compute: Compute,
        metrics: MetricsWriter? = nil,
        progress: (StepMetrics) throws -> Disposition = { _ in .proceed }
    ) throws -> Summary {
        try run(
            model, from: beginning(adapter), compute: compute, metrics: metrics,
            progress: progress)
    }

    /// Trains on the gradients that `model` gives, from where `state` stands to the end.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - state: the factors, which change, with their moments and the steps that are done.
    ///   - compute: the threads.
    ///   - metrics: where a row a step is written.
    ///   - checkpoints: where the state is saved, when it is due and when the run is stopped.
    ///   - progress: called after each step; may stop the run.
    /// - Returns: steps, losses and duration, those before `state` included.
    /// - Throws: what `model` throws, and an error naming the step where the loss or the gradient is
    ///   not finite; the factors then are those after the last good step.
    @discardableResult
    public func run(
        _ model: some LossAndGradients, from state: TrainingState, compute: Compute,
        metrics: MetricsWriter? = nil, checkpoints: CheckpointFolder? = nil,
        progress: (StepMetrics) throws -> Disposition = { _ in .proceed }
    ) throws -> Summary {
        var state = state
        let (adapter, optimizer) = (state.adapter, state.optimizer)
        let peakRate = options.learningRate ?? options.method.defaultLearningRate
        var order = RowOrder(
            count: examples.count, shuffledBy: options.shuffles ? options.seed : nil)
        let clock = ContinuousClock()
        let (start, secondsBefore) = (clock.now, state.summary.seconds)

        for step in state.summary.steps..<totalSteps {
            let stepStart = clock.now
            let rate =
                peakRate
                * options.schedule.factor(step: step, warmup: options.warmup, total: totalSteps)

            // The mean is over the terms of the whole batch, so they are counted before any
            // micro-step: accumulation must not weigh a short row's tokens more.
            let batch = positions(of: step).flatMap { position in
                example(order.row(at: position), at: position)
            }
            let terms = objective.termCount(of: batch)
            adapter.zeroGradients()
            var sum = ObjectiveSum()
            let microSize = options.batchSize * objective.rowsPerExample
            for begin in stride(from: 0, to: batch.count, by: microSize) {
                let micro = Array(batch[begin..<min(begin + microSize, batch.count)])
                sum += try objective.accumulate(
                    micro, adapter: adapter, on: model, count: terms)
            }
            let loss = sum.loss / Double(terms)
            let norm = adapter.gradientNorm()
            try requireFinite(loss, "loss", step: step)
            try requireFinite(norm, "gradient's norm", step: step)

            if let maximum = options.maximumGradientNorm {
                adapter.clipGradients(norm: norm, to: maximum)
            }
            var (before, after): (RefactoringReport?, RefactoringReport?)
            var refactoringTime = clock.measure {
                before = method.beforeStep(step, adapter: adapter, compute: compute)
            }
            optimizer.step(
                adapter, learningRateA: rate, learningRateB: rate * method.learningRateRatio,
                compute: compute)
            refactoringTime += clock.measure {
                after = method.afterStep(
                    step, adapter: adapter, optimizer: optimizer, compute: compute)
            }

            let tokens = batch.reduce(0) { $0 + $1.inputIDs.count }
            state.summary.steps += 1
            if step == 0 { state.summary.firstLoss = loss }
            state.summary.lastLoss = loss
            state.summary.tokens += tokens
            state.summary.seconds = secondsBefore + (clock.now - start) / .seconds(1)
            let row = StepMetrics(
                step: step + 1, totalSteps: totalSteps, loss: loss, learningRate: rate,
                gradientNorm: norm, tokens: tokens,
                tokensPerSecond: Double(tokens) / ((clock.now - stepStart) / .seconds(1)),
                seconds: state.summary.seconds, refactoring: before ?? after,
                refactoringSeconds: refactoringTime / .seconds(1), preferences: sum.preferences)
            try metrics?.append(row)
            let disposition = try progress(row)
            state.summary.isStopped = disposition == .stop && step + 1 < totalSteps
            if let checkpoints, state.summary.isStopped || checkpoints.isDue(after: step + 1) {
                try checkpoints.save(state, metrics: metrics?.contents() ?? [])
            }
            if disposition == .stop { break }
        }
        return state.summary
    }

    /// The rows of an example, which know their place in the run.
    private func example(_ index: Int, at position: Int) -> [TrainingRow] {
        var rows = examples[index]
        for k in rows.indices { rows[k].position = position * rows.count + k }
        return rows
    }

    /// The positions of a step's examples in the run.
    private func positions(of step: Int) -> Range<Int> {
        let batch = options.batchSize * options.accumulate
        let end =
            switch options.length {
            case .steps: (step + 1) * batch
            case .epochs(let epochs): min((step + 1) * batch, examples.count * epochs)
            }
        return step * batch..<end
    }

    private func requireFinite(_ value: Double, _ what: String, step: Int) throws {
        guard !value.isFinite else { return }
        throw LorikeetError(
            .invalidArgument, "training", "the \(what) is \(value) at step \(step + 1)",
            advice: "Lower --learning-rate, or look at the rows of that step.")
    }
}
