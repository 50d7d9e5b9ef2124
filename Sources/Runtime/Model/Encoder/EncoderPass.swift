public import LorikeetQuant
import QuantKernels

/// Runs sequences through an encoder: for their hidden states, a head's outputs, or the loss of these and its
/// gradients in an adapter; owns the memory for that.
///
/// The rows of a call are laid end to end without padding; each attends to itself alone.
public final class EncoderPass: LossAndGradients {
    /// What a pass is for.
    public enum Purpose: Sendable, Equatable {
        /// Hidden states and outputs.
        case inference
        /// Gradients too; either every block keeps what its backward pass needs, or it runs forward again.
        case training(recomputesBlocks: Bool)
    }

    /// The model.
    public let model: EncoderModel
    /// What it runs on.
    public let compute: Compute
    /// The most tokens that one call takes.
    public let maximumTokens: Int

    private let scratch: EncoderScratch
    private let activations: ActivationStore<EncoderActivations>
    private let regularization: Regularization
    // What a backward pass works with; nil for inference.
    private let backwardScratch: EncoderBackwardScratch?
    // sums[l] is block l's input before its normalization [tokens, hidden], the last one the last block's result;
    // one for all in inference.
    private let sums: [Buffer<Float>]
    // The gradient of a sum [tokens, hidden]
    private let d: Buffer<Float>

    /// Allocates for calls of up to `maximumTokens` tokens; `memory(_:_:)` says how much.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - compute: what to run on.
    ///   - maximumTokens: of all rows of a call together.
    ///   - purpose: what for.
    ///   - regularization: what `accumulate` does and nothing else: dropout and label smoothing.
    public init(
        model: EncoderModel, compute: Compute, maximumTokens: Int, purpose: Purpose = .inference,
        regularization: Regularization = Regularization()
    ) {
        precondition(maximumTokens > 0, "a pass of \(maximumTokens) tokens")
        let configuration = model.configuration
        self.model = model
        self.compute = compute
        self.maximumTokens = maximumTokens
        self.regularization = regularization
        scratch = EncoderScratch(configuration, tokens: maximumTokens, on: compute)
        let width = maximumTokens * configuration.hiddenSize
        let isTraining = purpose != .inference
        activations = ActivationStore(
            configuration, tokens: maximumTokens,
            recomputes: purpose != .training(recomputesBlocks: false), on: compute)
        backwardScratch =
            isTraining ? EncoderBackwardScratch(configuration, tokens: maximumTokens) : nil
        sums = (0...(isTraining ? configuration.layerCount : 0)).map { _ in Buffer(width) }
        d = Buffer(isTraining ? width : 0)
    }

    /// Adds lossScale · d(sum of the rows' losses) to the adapter's gradients.
    ///
    /// - Returns: the sum of the losses of rows with a target, unscaled, and their number.
    /// - Throws: `LorikeetError` for more tokens than `maximumTokens`, a token outside the vocabulary, a head
    ///   that does not go with the targets.
    public func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws -> (loss: Double, targets: Int) {
        guard let backwardScratch else { preconditionFailure("a pass for inference") }
        let rows = rows.filter { $0.target != nil }
        guard !rows.isEmpty else { return (0, 0) }
        let pass = try run(rows, adapter: adapter, regularization)
        let head = try SequenceHead(model, adapter: adapter)
        let firsts = FirstStates(sums[model.blocks.count], of: pass, norm: model.norm)
        let forward = head.forward(firsts.hidden.pointer, count: rows.count, on: compute)
        let loss = try differentiate(
            forward.logits, rows, SequenceLoss(labelSmoothing: regularization.labelSmoothing))
        compute.kernels.scale(lossScale, forward.logits.count, forward.logits.pointer)
        let dFirst = head.backward(
            forward.logits, h: firsts.hidden.pointer, forward, count: rows.count,
            adapter: adapter, on: compute)
        firsts.backward(dFirst, into: d.pointer, of: pass, norm: model.norm)
        backward(pass, adapter: adapter, backwardScratch)
        return (loss, rows.count)
    }

    /// The sum of the losses of rows with a target, and their number.
    ///
    /// - Throws: as `accumulate` does.
    public func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, targets: Int) {
        let (loss, outputs) = try evaluateOutputs(
            rows.filter { $0.target != nil }, adapter: adapter)
        return (loss, outputs.count)
    }

    /// The sum of the losses of `rows`, all of which have a target, and the head's outputs of each.
    ///
    /// - Throws: as `accumulate` does.
    public func evaluateOutputs(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, outputs: [[Float]]) {
        guard !rows.isEmpty else { return (0, []) }
        let outputs = try logits(of: rows, adapter: adapter)
        let flat = Buffer(outputs.flatMap(\.self))
        return (try differentiate(flat, rows, SequenceLoss()), outputs)
    }

    /// The head's outputs of each row: logits of the classes, or the one number.
    ///
    /// - Throws: as `accumulate` does.
    public func logits(
        of rows: [TrainingRow], adapter: (any LowRankDeltas)?
    ) throws -> [[Float]] {
        let head = try SequenceHead(model, adapter: adapter)
        let pass = try run(rows, adapter: adapter, Regularization())
        let firsts = FirstStates(lastSum, of: pass, norm: model.norm)
        let logits = head.forward(firsts.hidden.pointer, count: rows.count, on: compute).logits
        return rows.indices.map {
            Array(logits.elements[$0 * head.outputs..<($0 + 1) * head.outputs])
        }
    }

    /// Calls `body` for each row with its last hidden states [tokens of the row, hidden].
    ///
    /// - Throws: as `accumulate` does.
    public func hiddenStates(
        of rows: [TrainingRow], adapter: (any LowRankDeltas)?,
        _ body: (_ row: Int, _ states: UnsafePointer<Float>, _ count: Int) -> Void
    ) throws {
        let pass = try run(rows, adapter: adapter, Regularization())
        model.norm.forward(
            lastSum.pointer, count: pass.count, into: scratch.normed.pointer, scratch.statistics,
            on: compute)
        for (row, sequence) in pass.sequences.enumerated() {
            let start = scratch.normed.pointer + sequence.lowerBound * model.norm.weight.count
            body(row, start, sequence.count)
        }
    }

    private var lastSum: Buffer<Float> { sums[sums.count - 1] }

    private func sum(_ layer: Int) -> UnsafeMutablePointer<Float> {
        sums[min(layer, sums.count - 1)].pointer
    }

    // Everything up to the last block's sum.
    private func run(
        _ rows: [TrainingRow], adapter: (any LowRankDeltas)?, _ regularization: Regularization
    ) throws -> EncoderContext {
        try model.check(rows)
        var sequences: [Range<Int>] = []
        for row in rows {
            let start = sequences.last?.upperBound ?? 0
            sequences.append(start..<start + row.inputIDs.count)
        }
        let count = sequences.last?.upperBound ?? 0
        guard count <= maximumTokens else {
            throw LorikeetError(
                .invalidArgument, "rows", "more tokens than memory was reserved for",
                expected: "at most \(maximumTokens)", got: "\(count)")
        }
        var pass = EncoderContext(
            sequences: sequences, adapter: adapter, positions: model.positions, scratch: scratch,
            compute: compute, modules: model.configuration.modules)
        scratch.prepare(
            model.configuration, longest: pass.longest, adapter: adapter,
            drops: regularization.dropout > 0)
        if regularization.dropout > 0 {
            pass.dropout = (
                regularization.dropout, NoiseKeys(rows, seed: regularization.seed),
                NoiseKeys(positionsOf: rows, model.positions?.scheme, seed: regularization.seed)
            )
        }
        model.embeddings.forward(rows, into: sum(0), row: scratch.embedding, on: compute)
        for (layer, block) in model.blocks.enumerated() {
            pass.layer = layer
            block.forward(
                sum(layer), into: sum(layer + 1), keeping: activations[layer], pass: pass)
            activations.keep(layer: layer, tokens: count)
        }
        return pass
    }

    // Turns the logits into their gradients.
    private func differentiate(
        _ logits: Buffer<Float>, _ rows: [TrainingRow], _ loss: SequenceLoss
    ) throws -> Double {
        let outputs = logits.count / rows.count
        var sum = 0.0
        for (i, row) in rows.enumerated() {
            guard let target = row.target else { continue }
            let z = UnsafeMutableBufferPointer(
                rebasing: logits.elements[i * outputs..<(i + 1) * outputs])
            sum += try loss.differentiate(z, target, on: compute)
        }
        return sum
    }

    // All blocks; the gradient of the last sum is in `d`.
    private func backward(
        _ forward: EncoderContext, adapter: any TrainableLowRankDeltas,
        _ scratch: EncoderBackwardScratch
    ) {
        let learning = model.blocks.indices.filter { layer in
            model.configuration.modules.all.contains {
                adapter.gradient(at: ModulePath(layer: layer, module: $0)) != nil
            }
        }
        guard let lowest = learning.first else { return }
        var pass = forward
        for layer in (lowest..<model.blocks.count).reversed() {
            pass.layer = layer
            let (block, s) = (model.blocks[layer], sums[layer].pointer)
            // The last block's activations are still there from the forward pass.
            if layer < model.blocks.count - 1 {
                if activations.recomputes {
                    block.forward(
                        s, into: sums[layer + 1].pointer, keeping: activations[layer], pass: pass)
                } else {
                    activations.restore(layer: layer, tokens: pass.count)
                }
            }
            block.backward(
                d.pointer, s: s, kept: activations[layer], propagates: layer > lowest,
                adapter: adapter, scratch: scratch, pass: pass)
        }
    }
}

/// The hidden states of the sequences' first tokens, which a head reads.
private struct FirstStates {
    /// [sequences, hidden].
    let hidden: Buffer<Float>
    // The same before normalization.
    private let sums: Buffer<Float>
    private let statistics: LayerNorm.Statistics

    init(_ s: Buffer<Float>, of pass: EncoderContext, norm: LayerNorm) {
        let (B, C) = (pass.sequences.count, norm.weight.count)
        (hidden, sums) = (Buffer(B * C), Buffer(B * C))
        statistics = LayerNorm.Statistics(B)
        for (i, sequence) in pass.sequences.enumerated() {
            (sums.pointer + i * C).update(from: s.pointer + sequence.lowerBound * C, count: C)
        }
        norm.forward(
            sums.pointer, count: B, into: hidden.pointer, statistics, on: pass.compute)
    }

    /// d = the gradient of the sum: zero but for the first tokens.
    ///
    /// - dHidden: [sequences, hidden]; becomes the gradient of these tokens' sums.
    /// - d: [tokens, hidden]
    func backward(
        _ dHidden: Buffer<Float>, into d: UnsafeMutablePointer<Float>, of pass: EncoderContext,
        norm: LayerNorm
    ) {
        let C = norm.weight.count
        norm.backward(
            dHidden.pointer, x: sums.pointer, statistics, count: pass.sequences.count,
            on: pass.compute)
        d.update(repeating: 0, count: pass.count * C)
        for (i, sequence) in pass.sequences.enumerated() {
            (d + sequence.lowerBound * C).update(from: dHidden.pointer + i * C, count: C)
        }
    }
}

extension NoiseKeys {
    /// Keys of the positions that all rows of a pass share: they follow from the first of them.
    fileprivate init(positionsOf rows: [TrainingRow], _ scheme: RelativePositions?, seed: UInt64) {
        var positions = TrainingRow(
            inputIDs: Array(repeating: 0, count: scheme?.count ?? 0), target: nil)
        // Beyond every row's own place in a run.
        positions.position = (rows.first?.position ?? 0) | 1 << 62
        self.init([positions], seed: seed)
    }
}
