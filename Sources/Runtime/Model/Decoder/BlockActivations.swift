package import LorikeetQuant

/// What a decoder block's backward pass needs of its forward pass, besides the block's input.
///
/// Normalized inputs, the feed-forward layer's product and the attention probabilities are computed
/// again: each costs less time than the memory it would hold.
package final class BlockActivations: KeptActivations {
    /// Rotated queries [tokens, heads · headSize].
    let q: Buffer<Float>
    /// Rotated keys [tokens, keyValueHeads · headSize].
    let k: Buffer<Float>
    /// Values [tokens, keyValueHeads · headSize].
    let v: Buffer<Float>
    /// Queries before their norm [tokens, heads · headSize]; none where they have none.
    let rawQ: Buffer<Float>
    /// Keys before their norm [tokens, keyValueHeads · headSize]; likewise.
    let rawK: Buffer<Float>
    /// Attention's result before its output projection [tokens, heads · headSize].
    let attended: Buffer<Float>
    /// The residual stream between attention and feed-forward [tokens, hidden].
    let middle: Buffer<Float>
    /// What attention's norm reads [tokens, hidden]; none where its result is added as it is.
    let attentionResult: Buffer<Float>
    /// What the feed-forward layer's norm reads [tokens, hidden]; likewise.
    let feedForwardResult: Buffer<Float>
    /// [tokens, intermediate]; the backward pass leaves its gradient there.
    let gate: Buffer<Float>
    /// [tokens, intermediate]; likewise.
    let up: Buffer<Float>

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: ModelConfiguration, tokens: Int) {
        let made = Self.widths(configuration).map { Buffer<Float>(tokens * $0) }
        (q, k, v, attended) = (made[0], made[1], made[2], made[3])
        (middle, gate, up) = (made[4], made[5], made[6])
        (rawQ, rawK) = (made[7], made[8])
        (attentionResult, feedForwardResult) = (made[9], made[10])
    }

    /// All of them, in the order of `widths`.
    package var buffers: [Buffer<Float>] {
        [
            q, k, v, attended, middle, gate, up, rawQ, rawK, attentionResult, feedForwardResult,
        ]
    }

    /// What `buffers` are multiplied by before they are kept as halves, powers of two.
    ///
    /// A residual stream of scaled embeddings, and what is added to it behind norms of its own, grow past the
    /// largest half, 65504 (Gemma 3's do); 2⁻⁸ leaves room up to 1.7e7, and 1.5e-5 to the least.
    package static func halfScales(_ configuration: ModelConfiguration) -> [Float] {
        let stream: Float = configuration.normalizesResults ? 0x1p-8 : 1
        return [1, 1, 1, 1, stream, 1, 1, 1, 1, stream, stream]
    }

    /// How many floats a token each of `buffers` holds.
    package static func widths(_ configuration: ModelConfiguration) -> [Int] {
        let (Q, K, C, I) = (
            configuration.queryWidth, configuration.keyWidth, configuration.hiddenSize,
            configuration.intermediateSize
        )
        let heads = configuration.normalizesHeads ? [Q, K] : [0, 0]
        let results = configuration.normalizesResults ? [C, C] : [0, 0]
        return [Q, K, K, Q, C, I, I] + heads + results
    }
}
