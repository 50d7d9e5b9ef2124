public import LorikeetQuant
import QuantKernels

/// Loss of training rows, and its gradients in an adapter's factors; owns the memory for both.
///
/// The rows of a call are laid end to end without padding; each attends to itself alone. Either every
/// block keeps what its backward pass needs (as halves, unless arithmetic is fp32), or it keeps only its
/// input and runs forward once more when its gradient is due. Blocks below the lowest one that learns are run forward and forgotten.
public final class TrainingPass: LossAndGradients {
    /// The model.
    public let model: DecoderModel
    /// What it runs on.
    public let compute: Compute
    /// The most tokens that one call takes.
    public let maximumTokens: Int

    private let forwardScratch: ForwardScratch
    private let backwardScratch: BackwardScratch
    private let rotary: Rotations
    private let crossEntropy: CrossEntropy
    private let regularization: Regularization
    // inputs[l] is block l's input [tokens, hidden]; the last is the last block's output.
    private let inputs: [Buffer<Float>]
    private let activations: ActivationStore<BlockActivations>
    // The gradient of the residual stream [tokens, hidden]
    private let d: Buffer<Float>
    private let dNormed: Buffer<Float>

    /// Allocates for calls of up to `maximumTokens` tokens; `memory(_:_:)` says how much.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - compute: what to run on.
    ///   - maximumTokens: of all rows of a call together.
    ///   - recomputesBlocks: whether blocks run forward again instead of keeping their activations.
    ///   - lossChunk: positions of which there are logits at once; nil for the usual number.
    ///   - regularization: what `accumulate` does and `evaluate` does not.
    public init(
        model: DecoderModel, compute: Compute, maximumTokens: Int, recomputesBlocks: Bool,
        lossChunk: Int? = nil, regularization: Regularization = Regularization()
    ) {
        precondition(maximumTokens > 0, "a training pass of \(maximumTokens) tokens")
        let configuration = model.configuration
        self.model = model
        self.compute = compute
        self.maximumTokens = maximumTokens
        forwardScratch = ForwardScratch(
            configuration, tokens: maximumTokens, on: compute)
        backwardScratch = BackwardScratch(configuration, tokens: maximumTokens)
        rotary = Rotations(configuration, positions: maximumTokens)
        crossEntropy = CrossEntropy(
            output: model.output,
            chunk: Self.lossChunk(
                lossChunk, tokens: maximumTokens, vocabulary: configuration.vocabularySize),
            labelSmoothing: regularization.labelSmoothing, cap: configuration.logitCap,
            on: compute)
        self.regularization = regularization
        let width = maximumTokens * configuration.hiddenSize
        inputs = (0...configuration.layerCount).map { _ in Buffer(width) }
        activations = ActivationStore(
            configuration, tokens: maximumTokens, recomputes: recomputesBlocks, on: compute)
        d = Buffer(width)
        dNormed = backwardScratch.dNormed
    }

    /// Adds lossScale · d(sum of the token losses) to the adapter's gradients.
    ///
    /// - Returns: the sum of the losses over the unmasked targets, unscaled, and their number.
    /// - Throws: `LorikeetError` for more tokens than `maximumTokens`, or a token outside the
    ///   vocabulary.
    public func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws -> (loss: Double, targets: Int) {
        try accumulate(rows, adapter: adapter) { h, targets, count, dh in
            var loss = 0.0
            crossEntropy.forwardBackward(
                h, rows: count, targets: targets, lossScale: lossScale, into: dh, on: compute
            ) { loss += Double($1) }
            return loss
        }
    }

    /// Adds the gradients of a loss of the hidden states after the final norm.
    ///
    /// - Parameters:
    ///   - rows: the rows.
    ///   - adapter: whose gradients.
    ///   - loss: gets these states h [tokens, hidden], the positions that have a target, and the number of tokens;
    ///     fills the loss's gradient dh [tokens, hidden], and returns the sum of the positions' losses, unscaled.
    /// - Returns: that sum, and the number of targets.
    /// - Throws: as `accumulate(_:adapter:lossScale:)`.
    package func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas,
        loss: (
            _ h: UnsafePointer<Float>, _ targets: [CrossEntropy.Target], _ tokens: Int,
            _ dh: UnsafeMutablePointer<Float>
        ) -> Double
    ) throws -> (loss: Double, targets: Int) {
        let (forward, targets) = try run(rows, adapter: adapter, regularization)
        guard !targets.isEmpty else { return (0, 0) }
        let sum = loss(
            forwardScratch.normed.pointer, targets, forward.batch.count, dNormed.pointer)
        backward(forward, adapter: adapter)
        return (sum, targets.count)
    }

    /// Adds Σ wᵢ · d(the sum of row i's token losses) to the adapter's gradients.
    ///
    /// - Parameters:
    ///   - rows: the rows.
    ///   - adapter: whose gradients.
    ///   - weights: w, from the rows' losses; called between the forward and the backward pass.
    /// - Throws: as `accumulate(_:adapter:lossScale:)`.
    public func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas,
        weights: (_ losses: [Double]) -> [Float]
    ) throws {
        let (forward, targets) = try run(rows, adapter: adapter, regularization)
        var sums = RowSums(rows)
        crossEntropy.forwardBackward(
            forwardScratch.normed.pointer, rows: forward.batch.count, targets: targets,
            lossScale: 1, into: dNormed.pointer, on: compute
        ) { sums.add($1) }
        // Backward is linear: a row's few gradients of the hidden state are scaled for all that follows.
        let weights = weights(sums.losses)
        precondition(weights.count == rows.count, "\(weights.count) weights, \(rows.count) rows")
        var start = 0
        for (row, weight) in zip(rows, weights) {
            let (count, width) = (row.inputIDs.count, model.configuration.hiddenSize)
            compute.kernels.scale(weight, count * width, dNormed.pointer + start * width)
            start += count
        }
        if !targets.isEmpty { backward(forward, adapter: adapter) }
    }

    /// Each row's sum of the losses over its unmasked targets.
    ///
    /// - Throws: as `accumulate(_:adapter:lossScale:)`.
    public func losses(of rows: [TrainingRow], adapter: any LowRankDeltas) throws -> [Double] {
        let (_, targets) = try run(rows, adapter: adapter, Regularization())
        var sums = RowSums(rows)
        crossEntropy.forward(forwardScratch.normed.pointer, targets: targets, on: compute) {
            sums.add($1)
        }
        return sums.losses
    }

    /// The sum of the losses over the unmasked targets, and their number.
    ///
    /// - Throws: as `accumulate` does.
    public func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, targets: Int) {
        try evaluate(rows, adapter: adapter) { h, targets in
            var sum = 0.0
            crossEntropy.forward(h, targets: targets, on: compute) { sum += Double($1) }
            return sum
        }
    }

    /// A loss of the hidden states after the final norm.
    ///
    /// - loss: gets these states [tokens, hidden] and the positions that have a target; returns its sum over them.
    /// - Returns: that sum, and the number of targets.
    /// - Throws: as `accumulate(_:adapter:lossScale:)`.
    package func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas,
        loss: (_ h: UnsafePointer<Float>, _ targets: [CrossEntropy.Target]) -> Double
    ) throws -> (loss: Double, targets: Int) {
        let (_, targets) = try run(rows, adapter: adapter, Regularization())
        return (loss(forwardScratch.normed.pointer, targets), targets.count)
    }

    /// Runs `rows` through the base alone and shows `observer` what its linear layers read.
    ///
    /// - Throws: as `accumulate` does.
    public func observeInputs(
        _ rows: [TrainingRow], observer: @escaping InputObserver
    ) throws {
        _ = try run(rows, adapter: nil, Regularization(), observer: observer)
    }

    // Everything up to the final norm, whose result is left in the scratch's `normed`.
    private func run(
        _ rows: [TrainingRow], adapter: (any LowRankDeltas)?, _ regularization: Regularization,
        observer: InputObserver? = nil
    ) throws -> (ForwardContext, [CrossEntropy.Target]) {
        let (batch, targets) = try layOut(rows)
        let (alpha, dropout) = (regularization.embeddingNoise, regularization.dropout)
        forwardScratch.prepare(
            batch, adapter: adapter, modules: model.modules, drops: dropout > 0)
        var pass = ForwardContext(
            batch: batch, modules: model.modules, adapter: adapter, rotary: rotary,
            scratch: forwardScratch, compute: compute, observer: observer)
        model.embed(rows.flatMap(\.inputIDs), into: inputs[0].pointer, on: compute)
        if alpha > 0 || dropout > 0 {
            let keys = NoiseKeys(rows, seed: regularization.seed)
            if dropout > 0 { pass.dropout = (dropout, keys) }
            if alpha > 0 {
                EmbeddingNoise.add(
                    alpha, to: inputs[0].pointer, width: model.configuration.hiddenSize,
                    rows: rows, keys: keys, on: compute)
            }
        }
        for (layer, block) in model.blocks.enumerated() {
            pass.layer = layer
            block.forward(
                inputs[layer].pointer, into: inputs[layer + 1].pointer,
                keeping: activations[layer], pass: pass)
            activations.keep(layer: layer, tokens: batch.count)
        }
        model.norm.forward(
            inputs[model.blocks.count].pointer, count: batch.count,
            into: forwardScratch.normed.pointer, inverseRMS: forwardScratch.inverseRMS.pointer,
            on: compute)
        return (pass, targets)
    }

    // Everything from the final norm down; its gradient is in `dNormed`.
    private func backward(_ forward: ForwardContext, adapter: any TrainableLowRankDeltas) {
        let n = forward.batch.count
        d.pointer.update(repeating: 0, count: n * model.configuration.hiddenSize)
        model.norm.backward(
            dNormed.pointer, x: inputs[model.blocks.count].pointer,
            inverseRMS: forwardScratch.inverseRMS.pointer, count: n, addingTo: d.pointer,
            on: compute)
        var pass = BackwardContext(forward: forward, adapter: adapter, scratch: backwardScratch)
        let learning = model.blocks.indices.filter { layer in
            model.modules.all.contains {
                adapter.gradient(at: ModulePath(layer: layer, module: $0)) != nil
            }
        }
        guard let lowest = learning.first else { return }
        for layer in (lowest..<model.blocks.count).reversed() {
            pass.forward.layer = layer
            let (block, x) = (model.blocks[layer], inputs[layer].pointer)
            // The last block's activations are still there from the forward pass.
            if layer < model.blocks.count - 1 {
                if activations.recomputes {
                    block.forward(
                        x, into: inputs[layer + 1].pointer, keeping: activations[layer],
                        pass: pass.forward)
                } else {
                    activations.restore(layer: layer, tokens: forward.batch.count)
                }
            }
            block.backward(
                d.pointer, x: x, kept: activations[layer], propagates: layer > lowest, pass: pass)
        }
    }

    private func layOut(_ rows: [TrainingRow]) throws -> (Batch, [CrossEntropy.Target]) {
        var batch = Batch(sequences: [])
        var targets: [CrossEntropy.Target] = []
        var start = 0
        for row in rows where !row.inputIDs.isEmpty {
            try model.check(row.inputIDs)
            try model.check(row.labels.lazy.filter { $0 != TrainingRow.masked })
            for i in 1..<max(row.labels.count, 1) where row.labels[i] != TrainingRow.masked {
                targets.append(CrossEntropy.Target(row: start + i - 1, token: row.labels[i]))
            }
            batch.sequences.append(.init(start: start, count: row.inputIDs.count, cache: nil))
            start += row.inputIDs.count
        }
        guard start <= maximumTokens else {
            throw LorikeetError(
                .invalidArgument, "training rows", "more tokens than memory was reserved for",
                expected: "at most \(maximumTokens)", got: "\(start)")
        }
        return (batch, targets)
    }
}

/// Losses by row, from those of the targets, which come row by row.
private struct RowSums {
    private(set) var losses: [Double]
    private var rest: [Int]
    private var row = 0

    init(_ rows: [TrainingRow]) {
        losses = Array(repeating: 0, count: rows.count)
        rest = rows.map(\.targetCount)
    }

    mutating func add(_ loss: Float) {
        while rest[row] == 0 { row += 1 }
        rest[row] -= 1
        losses[row] += Double(loss)
    }
}
