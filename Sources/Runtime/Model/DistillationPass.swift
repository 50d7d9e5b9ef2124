import LorikeetQuant

/// A training pass whose loss is the distance to another model's predictions: KL(p‖q) at every position that has a
/// target, p the other's.
package final class DistillationPass: LossAndGradients {
    private let pass: TrainingPass
    private let reference: ReferenceStates
    private let loss: DistillationLoss
    // The rows' reference states end to end [tokens, hidden], as halves.
    private let kept: Buffer<UInt16>

    /// A pass of `pass`'s model towards the one whose states `reference` holds; both have one output projection.
    package init(_ pass: TrainingPass, reference: ReferenceStates) {
        let configuration = pass.model.configuration
        precondition(reference.width == configuration.hiddenSize, "states of another model")
        self.pass = pass
        self.reference = reference
        loss = DistillationLoss(
            output: pass.model.output, cap: configuration.logitCap, on: pass.compute)
        kept = Buffer(pass.maximumTokens * configuration.hiddenSize)
    }

    /// As of a `TrainingPass`.
    package func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws -> (loss: Double, targets: Int) {
        try pass.accumulate(rows, adapter: adapter) { h, targets, tokens, dh in
            gather(rows)
            return loss.forwardBackward(
                h, reference: kept.pointer, rows: targets.map(\.row), tokens: tokens,
                lossScale: lossScale, into: dh, on: pass.compute)
        }
    }

    /// As of a `TrainingPass`.
    package func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, targets: Int) {
        try pass.evaluate(rows, adapter: adapter) { h, targets in
            gather(rows)
            return loss.forward(
                h, reference: kept.pointer, rows: targets.map(\.row), on: pass.compute)
        }
    }

    private func gather(_ rows: [TrainingRow]) {
        var place = kept.pointer
        for row in rows {
            let count = row.inputIDs.count * reference.width
            place.update(from: reference.states(of: row.inputIDs), count: count)
            place += count
        }
    }
}
