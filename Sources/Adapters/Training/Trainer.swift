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
        /// What evaluations on held-out rows have found; nil before the first.
        public var validation: ValidationRecord?
        /// Whether it ended because evaluations brought no improvement any more.
        public var isStoppedEarly = false
        /// The step that the adapter is from: the last, or the one of the lowest validation loss.
        public var adapterStep = 0
    }

    /// How to train.
    public let options: TrainingOptions
    /// Optimizer steps of the whole run.
    public var totalSteps: Int { order.totalSteps }
    /// Which rows each step takes.
    public let order: BatchOrder
    private let method: any Method
    private let objective: any Objective
    private let rows: any TrainingRows
    /// Rows to measure the run on; nil where it is not measured.
    let validation: (any TrainingRows)?
    private let warmup: Int

    /// Prepares a run over `rows`; rows without a target teach nothing and are left out.
    ///
    /// - Parameters:
    ///   - rows: the rows, an array for one; pairs for an objective that compares.
    ///   - validation: rows that are not learned, to measure the run on.
    ///   - options: how to train.
    ///   - maximumLength: the tokens of a slot where rows are packed; the longest row's when nil.
    /// - Throws: `.invalidArgument` where no row has a target, or an option is out of its range.
    public init(
        _ rows: any TrainingRows, validation: (any TrainingRows)? = nil, options: TrainingOptions,
        maximumLength: Int? = nil
    ) throws {
        try options.validate()
        guard validation != nil || !options.needsValidation else {
            throw LorikeetError(
                .invalidArgument, "--eval-every", "there are no rows to measure the run on",
                advice: "Give --validation or --validation-split.")
        }
        objective = options.makeObjective()
        self.validation = try validation.map { try Self.withTargets($0, "validation data") }
        self.rows = try Self.withTargets(rows, "training data")
        self.options = options
        order = BatchOrder(self.rows, options: options, maximumLength: maximumLength)
        warmup = options.warmupSteps(of: order.totalSteps)
        method = options.method.method(options.methodSettings(totalSteps: order.totalSteps))
    }

    /// The beginning of a run that trains `adapter`.
    public func beginning(_ adapter: TrainableAdapter) -> TrainingState {
        var state = TrainingState(
            adapter, optimizer: method.makeOptimizer(for: adapter, options: options.optimizer))
        if validation != nil, options.validation.keepsBest {
            state.best = BestFactors(of: adapter)
        }
        return state
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
    ///   - metrics: where a row a step is written, and one an evaluation.
    ///   - checkpoints: where the state is saved, when it is due and when the run is stopped.
    ///   - progress: called after each step; may stop the run.
    /// - Returns: steps, losses and duration, those before `state` included.
    /// - Throws: what `model` throws, and an error naming step, layer and row where the loss or the
    ///   gradient is not finite; the factors then are those after the last good step.
    @discardableResult
    public func run(
        _ model: some LossAndGradients, from state: TrainingState, compute: Compute,
        metrics: MetricsWriter? = nil, checkpoints: CheckpointFolder? = nil,
        progress: (StepMetrics) throws -> Disposition = { _ in .proceed }
    ) throws -> Summary {
        var state = state
        let (adapter, optimizer) = (state.adapter, state.optimizer)
        var order = order
        let clock = ContinuousClock()
        let (start, secondsBefore) = (clock.now, state.summary.seconds)
        method.prepare(adapter)

        while state.summary.steps < totalSteps, !hasStoppedImproving(state.summary) {
            let step = state.summary.steps
            let stepStart = clock.now
            let rate = learningRate(at: step)

            // The mean is over the terms of the whole batch, so they are counted before any
            // micro-step: accumulation must not weigh a short row's tokens more.
            let passes = order.passes(of: step)
            let batch = passes.flatMap(\.self)
            let terms = objective.termCount(
                examples: batch.count, targets: batch.reduce(0) { $0 + rows.targetCount(at: $1) })
            adapter.zeroGradients()
            var sum = ObjectiveSum()
            for pass in passes {
                sum += try accumulate(pass, of: step, from: sum.examples, adapter, model, terms)
            }
            adapter.collectGradients()
            method.finishGradients(of: adapter)
            let loss = sum.loss / Double(terms)
            let norm = adapter.gradientNorm()
            let sentinel = Sentinel(step: step + 1, rows: rows, batch: batch)
            try sentinel.requireTargets(sum.terms)
            try sentinel.requireFinite(loss: loss, norm: norm, of: adapter) { place in
                let alone = try accumulate(
                    [batch[place]], of: step, from: place, adapter, model, terms)
                adapter.collectGradients()
                return alone.loss
            }

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
                adapter.publish()
                method.prepare(adapter)
            }

            try sentinel.requireFiniteFactors(of: adapter)

            let tokens = batch.reduce(0) { $0 + rows.tokenCount(at: $1) }
            state.summary.steps += 1
            if step == 0 { state.summary.firstLoss = loss }
            state.summary.lastLoss = loss
            state.summary.tokens += tokens
            state.summary.seconds = secondsBefore + (clock.now - start) / .seconds(1)
            var row = StepMetrics(
                step: step + 1, totalSteps: totalSteps, loss: loss, learningRate: rate,
                gradientNorm: norm, tokens: tokens,
                tokensPerSecond: Double(tokens) / ((clock.now - stepStart) / .seconds(1)),
                seconds: state.summary.seconds, refactoring: before ?? after,
                refactoringSeconds: refactoringTime / .seconds(1), preferences: sum.preferences)
            try metrics?.append(row.json)
            if let validation, options.validation.isDue(after: step + 1, of: totalSteps) {
                let evaluation = try evaluate(model, on: validation, &state)
                try metrics?.append(evaluation.json)
                row.validation = evaluation
                state.summary.seconds = secondsBefore + (clock.now - start) / .seconds(1)
            }
            let disposition = try progress(row)
            state.summary.isStopped =
                disposition == .stop && step + 1 < totalSteps
                && !hasStoppedImproving(state.summary)
            if let checkpoints, state.summary.isStopped || checkpoints.isDue(after: step + 1) {
                try checkpoints.save(state, metrics: metrics?.contents() ?? [])
            }
            if disposition == .stop { break }
        }
        return end(&state)
    }

    /// Adds the gradients of some of a step's examples, which know their place in the run.
    ///
    /// - Parameters:
    ///   - indices: the examples.
    ///   - step: the step's index.
    ///   - place: how many of the step's examples come before these.
    ///   - adapter: whose gradients.
    ///   - model: the base.
    ///   - terms: the terms of the whole step.
    /// - Returns: what these examples came to.
    /// - Throws: what `model` throws, and where a row cannot be read.
    private func accumulate(
        _ indices: [Int], of step: Int, from place: Int, _ adapter: TrainableAdapter,
        _ model: some LossAndGradients, _ terms: Int
    ) throws -> ObjectiveSum {
        var examples = try indices.map { try rows.example(at: $0) }
        for i in examples.indices {
            for k in examples[i].indices {
                // A step has fewer than 2³² rows, a run fewer than 2³⁰ steps.
                examples[i][k].position = step << 32 | (place + i) * examples[i].count + k
            }
        }
        var sum = try objective.accumulate(
            examples.flatMap(\.self), adapter: adapter, on: model, count: terms)
        sum.examples = indices.count
        return sum
    }

    /// A's learning rate at the step with this index, from 0.
    public func learningRate(at step: Int) -> Double {
        (options.learningRate ?? options.method.defaultLearningRate)
            * options.schedule.factor(
                step: step, warmup: warmup, total: totalSteps, shape: options.scheduleShape)
    }

    /// Those of `rows` that have a target.
    private static func withTargets(
        _ rows: any TrainingRows, _ what: String
    ) throws -> any TrainingRows {
        let learned = (0..<rows.count).filter { rows.targetCount(at: $0) > 0 }
        guard !learned.isEmpty else {
            throw LorikeetError(
                .invalidArgument, what,
                rows.count == 0 ? "has no rows" : "has no token to learn: every label is masked")
        }
        return learned.count == rows.count ? rows : RowSelection(rows: rows, indices: learned)
    }
}
