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
    public var totalSteps: Int { order.totalSteps }
    /// Which rows each step takes.
    public let order: BatchOrder
    private let method: any Method
    private let rows: any TrainingRows

    /// Prepares a run over `rows`; rows without a target teach nothing and are left out.
    ///
    /// - Parameters:
    ///   - rows: the rows, an array for one.
    ///   - options: how to train.
    ///   - maximumLength: the tokens of a slot where rows are packed; the longest row's when nil.
    /// - Throws: `.invalidArgument` where no row has a target, or an option is out of its range.
    public init(
        _ rows: any TrainingRows, options: TrainingOptions, maximumLength: Int? = nil
    ) throws {
        try options.validate()
        let learned = (0..<rows.count).filter { rows.targetCount(at: $0) > 0 }
        guard !learned.isEmpty else {
            throw LorikeetError(
                .invalidArgument, "training data",
                rows.count == 0 ? "has no rows" : "has no token to learn: every label is masked")
        }
        self.rows =
            learned.count == rows.count ? rows : RowSelection(rows: rows, indices: learned)
        self.options = options
        order = BatchOrder(self.rows, options: options, maximumLength: maximumLength)
        method = options.method.method(
            MethodSettings(
                totalSteps: order.totalSteps, refactoringWarmup: options.refactoringWarmup,
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
        var order = order
        let clock = ContinuousClock()
        let (start, secondsBefore) = (clock.now, state.summary.seconds)

        for step in state.summary.steps..<totalSteps {
            let stepStart = clock.now
            let rate =
                peakRate
                * options.schedule.factor(step: step, warmup: options.warmup, total: totalSteps)

            // The mean is over the targets of the whole batch, so they are counted before any
            // micro-step: accumulation must not weigh a short row's tokens more.
            let passes = order.passes(of: step)
            let targets = passes.joined().reduce(0) { $0 + rows.targetCount(at: $1) }
            adapter.zeroGradients()
            var lossSum = 0.0
            for pass in passes {
                lossSum += try model.accumulate(
                    pass.map { try rows.row(at: $0) }, adapter: adapter,
                    lossScale: 1 / Float(targets)
                ).loss
            }
            let loss = lossSum / Double(targets)
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

            let tokens = passes.joined().reduce(0) { $0 + rows.tokenCount(at: $1) }
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
                refactoringSeconds: refactoringTime / .seconds(1))
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

    private func requireFinite(_ value: Double, _ what: String, step: Int) throws {
        guard !value.isFinite else { return }
        throw LorikeetError(
            .invalidArgument, "training", "the \(what) is \(value) at step \(step + 1)",
            advice: "Lower --learning-rate, or look at the rows of that step.")
    }
}
