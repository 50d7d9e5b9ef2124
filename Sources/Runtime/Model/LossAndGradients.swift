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

    /// Adds Σ wᵢ · d(the sum of row i's token losses) to the adapter's gradients.
    ///
    /// - weights: w, from the rows' losses.
    func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas,
        weights: (_ losses: [Double]) -> [Float]
    ) throws

    /// Each row's sum of the losses over its unmasked targets: −log p(targets).
    func losses(of rows: [TrainingRow], adapter: any LowRankDeltas) throws -> [Double]
}

extension LossAndGradients {
    /// One row at a time, each forward twice.
    public func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas,
        weights: (_ losses: [Double]) -> [Float]
    ) throws {
        for (row, weight) in zip(rows, weights(try losses(of: rows, adapter: adapter))) {
            _ = try accumulate([row], adapter: adapter, lossScale: weight)
        }
    }

    /// One row at a time.
    public func losses(of rows: [TrainingRow], adapter: any LowRankDeltas) throws -> [Double] {
        try rows.map { try evaluate([$0], adapter: adapter).loss }
    }
}
