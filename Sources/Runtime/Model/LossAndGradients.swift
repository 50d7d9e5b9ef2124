/// What training needs of a model: the loss of some rows, and its gradient in an adapter's factors.
public protocol LossAndGradients {
    /// Adds lossScale · d(sum of the token losses) to the adapter's gradients.
    ///
    /// - Returns: the sum of the losses over the unmasked targets, unscaled, and their number.
    func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    )
        throws -> (loss: Double, targets: Int)

    /// The sum of the losses over the unmasked targets, and their number.
    func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (
        loss: Double, targets: Int
    )
}
