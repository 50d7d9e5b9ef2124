package import LorikeetQuant

/// Memory that every block of a forward pass uses in turn.
package final class ForwardScratch {
    /// A sublayer's normalized input, then its result [tokens, hidden].
    let normed: Buffer<Float>
    /// A normalization's 1 / rms [tokens], or [tokens, heads].
    let inverseRMS: Buffer<Float>
    /// silu(gate) ⊙ up [tokens, intermediate].
    let h: Buffer<Float>
    /// What one layer makes of several parts, side by side [tokens, the wider of attention's and
    /// feed-forward's]; none where layers are apart.
    let joined: Buffer<Float>
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
    private let isCapped: Bool

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: ModelConfiguration, tokens: Int, on compute: Compute) {
        normed = Buffer(tokens * configuration.hiddenSize)
        inverseRMS = Buffer(tokens * Self.normCount(configuration))
        isCapped = configuration.attentionCap != nil
        h = Buffer(tokens * configuration.intermediateSize)
        joined = Buffer(tokens * Self.joinedWidth(configuration))
        positions = Buffer(tokens)
        cachedAttention = CachedAttention(configuration, on: compute)
        linear = LinearScratch(tokens: tokens, on: compute)
        threads = compute.pool.count
    }

    /// How many keys there is room for where the longest sequence has so many tokens.
    static func keys(for longest: Int) -> Int { max(longest, 64) }

    // The most vectors of a token that are normalized at once.
    private static func normCount(_ configuration: ModelConfiguration) -> Int {
        configuration.normalizesHeads ? configuration.headCount : 1
    }

    private static func joinedWidth(_ configuration: ModelConfiguration) -> Int {
        guard configuration.fusesProjections else { return 0 }
        return max(
            configuration.queryWidth + 2 * configuration.keyWidth,
            2 * configuration.intermediateSize)
    }

    /// Bytes for batches of up to `tokens` rows, less what attention and linear layers work with.
    package static func memory(_ configuration: ModelConfiguration, tokens: Int) -> Int {
        Buffer<Float>.memory(tokens * configuration.hiddenSize)
            + Buffer<Float>.memory(tokens * normCount(configuration))
            + Buffer<Float>.memory(tokens * configuration.intermediateSize)
            + Buffer<Float>.memory(tokens * joinedWidth(configuration))
            + Buffer<Int32>.memory(tokens)
    }

    /// Makes room for a pass: the positions of `batch`, scores over its longest sequence, the largest
    /// rank of `adapter`, and inputs where it `drops` some.
    func prepare(
        _ batch: Batch, adapter: (any LowRankDeltas)?, modules: BlockModules, drops: Bool = false
    ) {
        batch.writePositions(into: positions.pointer)
        let longest = batch.longestInFloats
        if longest > keys {
            // Doubled, so that a growing sequence seldom asks.
            keys = max(Self.keys(for: longest), 2 * keys)
            scores = (0..<threads).map { _ in
                Buffer(Attention.scratchCount(keys: keys, capped: isCapped))
            }
        }
        guard let adapter else { return }
        for layer in 0..<modules.layerCount {
            for entry in modules.entries {
                let path = ModulePath(layer: layer, module: entry.module)
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

    /// Bytes for batches of up to `tokens` rows.
    package static func memory(_ configuration: ModelConfiguration, tokens: Int) -> Int {
        let (C, I, Q, K) = (
            configuration.hiddenSize, configuration.intermediateSize, configuration.queryWidth,
            configuration.keyWidth
        )
        return [C, I, Q, Q, K, K].reduce(0) { $0 + Buffer<Float>.memory(tokens * $1) }
    }
}
