package import LorikeetQuant

/// Memory that every block of a forward pass uses in turn.
package final class ForwardScratch {
    /// A sublayer's normalized input, then its result [tokens, hidden].
    let normed: Buffer<Float>
    /// The normalization's 1 / rms [tokens].
    let inverseRMS: Buffer<Float>
    /// silu(gate) ⊙ up [tokens, intermediate].
    let h: Buffer<Float>
    /// Every row's position in its sequence [tokens].
    let positions: Buffer<Int32>
    /// Attention over caches of halves.
    let cachedAttention: CachedAttention
    /// What linear layers work with.
    let linear: LinearScratch
    /// Attention scores, one a thread.
    private(set) var scores: [Buffer<Float>] = []
    private var keys = 0
    private let threads: Int

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: ModelConfiguration, tokens: Int, on compute: Compute) {
        normed = Buffer(tokens * configuration.hiddenSize)
        inverseRMS = Buffer(tokens)
        h = Buffer(tokens * configuration.intermediateSize)
        positions = Buffer(tokens)
        cachedAttention = CachedAttention(configuration, on: compute)
        linear = LinearScratch(tokens: tokens, on: compute)
        threads = compute.pool.count
    }

    /// Makes room for a pass: the positions of `batch`, scores over its longest sequence, the largest
    /// rank of `adapter`, and inputs where it `drops` some.
    func prepare(
        _ batch: Batch, adapter: (any LowRankDeltas)?, layers: Int, drops: Bool = false
    ) {
        batch.writePositions(into: positions.pointer)
        let longest = batch.longestInFloats
        if longest > keys {
            // Doubled, so that a growing sequence seldom asks.
            keys = max(longest, 2 * keys, 64)
            scores = (0..<threads).map { _ in Buffer(Attention.scratchCount(keys: keys)) }
        }
        guard let adapter else { return }
        for layer in 0..<layers {
            for module in LinearModule.allCases {
                let path = ModulePath(layer: layer, module: module)
                if let delta = adapter.delta(at: path) { linear.reserve(delta, drops: drops) }
            }
        }
    }
}

/// Memory that every block of a backward pass uses in turn.
package final class BackwardScratch {
    /// Gradient of a sublayer's normalized input [tokens, hidden].
    let dNormed: Buffer<Float>
    /// Gradient of silu(gate) ⊙ up [tokens, intermediate].
    let dh: Buffer<Float>
    /// Gradient of attention's result [tokens, heads · headSize].
    let dAttended: Buffer<Float>
    /// Gradient of the queries [tokens, heads · headSize].
    let dq: Buffer<Float>
    /// Gradient of the keys [tokens, keyValueHeads · headSize].
    let dk: Buffer<Float>
    /// Gradient of the values [tokens, keyValueHeads · headSize].
    let dv: Buffer<Float>

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: ModelConfiguration, tokens: Int) {
        dNormed = Buffer(tokens * configuration.hiddenSize)
        dh = Buffer(tokens * configuration.intermediateSize)
        dAttended = Buffer(tokens * configuration.queryWidth)
        dq = Buffer(tokens * configuration.queryWidth)
        dk = Buffer(tokens * configuration.keyWidth)
        dv = Buffer(tokens * configuration.keyWidth)
    }
}
