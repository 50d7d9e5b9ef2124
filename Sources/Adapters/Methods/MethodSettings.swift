/// What the methods need to know of a run, each what concerns it.
public struct MethodSettings: Sendable {
    /// Optimizer steps of the whole run.
    public var totalSteps: Int
    /// The RefLoRA family: steps of plain LoRA at the start; nil for a sixth of the run, 100 at most.
    public var refactoringWarmup: Int?
    /// The RefLoRA family: refactor at every how many steps.
    public var refactoringInterval: Int

    /// LoRA+: B's learning rate over A's.
    public var learningRateRatio = 16.0
    /// PrecLoRA, LoRA-FA, LoRA-Pro: δ; nil for the method's own.
    public var damping: Double?
    /// AdaLoRA: the budget.
    public var adaLoRA = AdaLoRA.Options()
    /// AdaLoRA: what P's start follows from.
    public var seed: UInt64 = 0

    /// Describes a run.
    public init(totalSteps: Int, refactoringWarmup: Int? = nil, refactoringInterval: Int = 1) {
        self.totalSteps = totalSteps
        self.refactoringWarmup = refactoringWarmup
        self.refactoringInterval = refactoringInterval
    }

    /// When the RefLoRA family refactors.
    public var refactoring: RefactoringSchedule {
        RefactoringSchedule(
            warmup: refactoringWarmup ?? RefactoringSchedule.defaultWarmup(steps: totalSteps),
            interval: refactoringInterval)
    }
}
