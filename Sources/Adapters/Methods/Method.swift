public import LorikeetQuant

/// What distinguishes one way to fine-tune low-rank factors from another: the scale of the product,
/// how fast B learns, and what happens around an optimizer step.
public protocol Method: Sendable {
    /// What multiplies B A.
    func scale(rank: Int, alpha: Double) -> Float
    /// B's learning rate over A's.
    var learningRateRatio: Double { get }
    /// Whether A is trained; if not it has no gradient.
    var learnsA: Bool { get }
    /// Whether the lengths of the rows of W + s B A are trained too, for which a start needs the base's.
    var trainsMagnitudes: Bool { get }
    /// What steps the parameters of `adapter`.
    func makeOptimizer(
        for adapter: TrainableAdapter, options: AdamW.Options
    )
        -> any Optimizer
    /// Called before a run's first pass and after each step; brings up to date what passes need and
    /// follows from the parameters.
    func prepare(_ adapter: TrainableAdapter)
    /// Called when a step's passes are done, before the gradients' norm is taken; makes them those of the
    /// parameters, where passes give others.
    func finishGradients(of adapter: TrainableAdapter)
    /// Bytes of what `makeOptimizer` makes for layers of these shapes.
    func optimizerMemory(for shapes: [TrainableAdapter.Shape], rank: Int) -> Int
    /// Bytes of what `beforeStep` and `afterStep` work with.
    func scratchMemory(rank: Int, threads: Int) -> Int
    /// Called between clipping and the optimizer's step; may change the gradients.
    ///
    /// - Parameters:
    ///   - step: the step's index in the run, from 0.
    ///   - adapter: whose gradients are changed.
    ///   - compute: the threads.
    /// - Returns: what became of the layers, if this method does something in this step.
    func beforeStep(_ step: Int, adapter: TrainableAdapter, compute: Compute) -> RefactoringReport?
    /// Called after the optimizer's step; may change the factors, and the moments with them.
    ///
    /// - Parameters:
    ///   - step: the step's index in the run, from 0.
    ///   - adapter: whose factors are changed.
    ///   - optimizer: whose moments follow.
    ///   - compute: the threads.
    /// - Returns: what became of the layers, if this method does something in this step.
    func afterStep(
        _ step: Int, adapter: TrainableAdapter, optimizer: any Optimizer, compute: Compute
    )
        -> RefactoringReport?
}

extension Method {
    /// LoRA's α / r.
    public func scale(rank: Int, alpha: Double) -> Float { Float(alpha / Double(rank)) }
    /// Both factors learn alike.
    public var learningRateRatio: Double { 1 }
    /// Both factors are trained.
    public var learnsA: Bool { true }
    /// The factors alone are trained.
    public var trainsMagnitudes: Bool { false }
    /// AdamW.
    public func makeOptimizer(
        for adapter: TrainableAdapter, options: AdamW.Options
    )
        -> any Optimizer
    { AdamW(adapter, options: options) }
    /// Does nothing: passes need the factors alone.
    public func prepare(_ adapter: TrainableAdapter) {}
    /// Does nothing: passes give the factors' gradients.
    public func finishGradients(of adapter: TrainableAdapter) {}
    /// AdamW's.
    public func optimizerMemory(for shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        AdamW.memory(
            parameterCounts: shapes.flatMap {
                TrainableAdapter.parameterCounts($0, rank: rank, method: self)
            })
    }
    /// None.
    public func scratchMemory(rank: Int, threads: Int) -> Int { 0 }
    /// Leaves the gradients alone.
    public func beforeStep(
        _ step: Int, adapter: TrainableAdapter, compute: Compute
    )
        -> RefactoringReport?
    { nil }
    /// Leaves the factors alone.
    public func afterStep(
        _ step: Int, adapter: TrainableAdapter, optimizer: any Optimizer, compute: Compute
    )
        -> RefactoringReport?
    { nil }
}

/// What became of one step's refactorings, over all layers.
public struct RefactoringReport: Sendable, Equatable {
    /// Layers that were refactored.
    public var refactored = 0
    /// Layers left alone because a factor is exactly zero.
    public var skipped = 0
    /// Layers left alone because S could not be computed.
    public var failed = 0
    /// Layers where eigenvalues were raised to the floor.
    public var clamped = 0
    /// The largest condition number of S, where there is an S.
    public var conditionNumber: Double?

    /// An empty report.
    public init() {}

    /// Adds another layer's outcome.
    mutating func add(_ outcome: RefactoringOutcome) {
        switch outcome {
        case .refactored(let condition, let isClamped):
            refactored += 1
            clamped += isClamped ? 1 : 0
            if let condition { conditionNumber = max(condition, conditionNumber ?? condition) }
        case .skipped: skipped += 1
        case .failed: failed += 1
        }
    }
}

/// What became of one layer's refactoring.
enum RefactoringOutcome: Sendable {
    case refactored(conditionNumber: Double?, isClamped: Bool)
    case skipped
    case failed
}

/// When a run refactors: not during the warm-up, then at every `interval`-th step.
public struct RefactoringSchedule: Sendable, Equatable {
    /// Steps of plain LoRA before the first refactoring: B starts at zero, where S has no inverse.
    public var warmup: Int
    /// Steps from one refactoring to the next.
    public var interval: Int

    /// Creates a schedule.
    public init(warmup: Int, interval: Int = 1) {
        precondition(warmup >= 0 && interval > 0, "warm-up \(warmup), interval \(interval)")
        self.warmup = warmup
        self.interval = interval
    }

    /// The warm-up for a run of `steps`: a sixth of it, at least 1 and at most the authors' 100.
    public static func defaultWarmup(steps: Int) -> Int { min(max(steps / 6, 1), 100) }

    /// Whether the factors are refactored for the step with this index.
    public func includes(_ step: Int) -> Bool {
        step >= warmup && (step - warmup).isMultiple(of: interval)
    }
}
