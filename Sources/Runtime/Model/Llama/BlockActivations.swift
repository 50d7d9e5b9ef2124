import LorikeetQuant

/// What a block's backward pass needs of its forward pass, besides the block's input.
///
/// Normalized inputs, the feed-forward layer's product and the attention probabilities are computed
/// again: each costs less time than the memory it would hold.
package final class BlockActivations {
    /// Rotated queries [tokens, heads · headSize].
    let q: Buffer<Float>
    /// Rotated keys [tokens, keyValueHeads · headSize].
    let k: Buffer<Float>
    /// Values [tokens, keyValueHeads · headSize].
    let v: Buffer<Float>
    /// Attention's result before its output projection [tokens, heads · headSize].
    let attended: Buffer<Float>
    /// The residual stream between attention and feed-forward [tokens, hidden].
    let middle: Buffer<Float>
    /// [tokens, intermediate]; the backward pass leaves its gradient there.
    let gate: Buffer<Float>
    /// [tokens, intermediate]; likewise.
    let up: Buffer<Float>

    /// Allocates for batches of up to `tokens` rows.
    package init(_ configuration: ModelConfiguration, tokens: Int) {
        q = Buffer(tokens * configuration.queryWidth)
        k = Buffer(tokens * configuration.keyWidth)
        v = Buffer(tokens * configuration.keyWidth)
        attended = Buffer(tokens * configuration.queryWidth)
        middle = Buffer(tokens * configuration.hiddenSize)
        gate = Buffer(tokens * configuration.intermediateSize)
        up = Buffer(tokens * configuration.intermediateSize)
    }
}

extension ModelConfiguration {
    /// heads · headSize.
    package var queryWidth: Int { headCount * headSize }
    /// keyValueHeads · headSize.
    package var keyWidth: Int { keyValueHeadCount * headSize }
}
