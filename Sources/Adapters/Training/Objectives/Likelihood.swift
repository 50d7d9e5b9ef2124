public import LorikeetRuntime

/// Supervised fine-tuning: the mean of −log p over the batch's targets.
public struct Likelihood: Objective {
    /// The objective; it has no settings.
    public init() {}

    /// The targets.
    public func termCount(examples: Int, targets: Int) -> Int { targets }

    /// One pass.
    public func accumulate(
        _ rows: [TrainingRow], adapter: TrainableAdapter, on model: some LossAndGradients,
        count: Int
    ) throws -> ObjectiveSum {
        var sum = ObjectiveSum()
        (sum.loss, sum.terms) = try model.accumulate(
            rows, adapter: adapter, lossScale: 1 / Float(count))
        return sum
    }
}
