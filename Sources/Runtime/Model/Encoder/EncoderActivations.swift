package import LorikeetQuant

/// What an encoder block's backward pass needs of its forward pass, besides the block's input.
///
/// Normalized sums, the activation of the feed-forward layer, the keys and queries of positions and the attention
/// probabilities are computed again: each costs less time than the memory it would hold.
package final class EncoderActivations: KeptActivations {
    /// Queries [tokens, hidden].
    let q: Buffer<Float>
    /// Keys [tokens, hidden].
    let k: Buffer<Float>
    /// Values [tokens, hidden].
    let v: Buffer<Float>
    /// Attention's result before its output projection [tokens, hidden].
    let attended: Buffer<Float>
    /// The sum between attention and feed-forward, before its normalization [tokens, hidden].
    let middle: Buffer<Float>
    /// The feed-forward layer before its activation [tokens, intermediate].
    let up: Buffer<Float>

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: EncoderConfiguration, tokens: Int) {
        let made = Self.widths(configuration).map { Buffer<Float>(tokens * $0) }
        (q, k, v, attended, middle, up) = (made[0], made[1], made[2], made[3], made[4], made[5])
    }

    /// All of them, in the order of `widths`.
    package var buffers: [Buffer<Float>] { [q, k, v, attended, middle, up] }

    /// How many floats a token each of `buffers` holds.
    package static func widths(_ configuration: EncoderConfiguration) -> [Int] {
        let C = configuration.hiddenSize
        return [C, C, C, C, C, configuration.intermediateSize]
    }
}
