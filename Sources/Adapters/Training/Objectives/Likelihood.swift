public import LorikeetRuntime

/// Supervised fine-tuning: the mean of −log p over the batch's targets.
public struct Likelihood: Objective {
    /// A row stands for itself.
    public let rowsPerExample = 1

    /// The objective; it has no settings.
    public init() {}

    /// The targets.
    public func termCount(of rows: [TrainingRow]) -> Int { rows.reduce(0) { $0 + $1.targetCount } }

    /// One pass.
    public func accumulate(
        _ rows: [TrainingRow], adapter: TrainableAdapter, on model: some LossAndGradients,
        count: Int
    ) throws -> ObjectiveSum {
        var sum = ObjectiveSum()
        sum.loss = try model.accumulate(rows, adapter: adapter, lossScale: 1 / Float(count)).loss
        return sum
    }
}
