package import LorikeetQuant
import QuantKernels

/// What an encoder block's backward pass needs of its forward pass, besides the block's input.
///
/// Normalized sums, the activation of the feed-forward layer, the keys and queries of positions and the attention
/// probabilities are computed again: each costs less time than the memory it would hold.
package final class EncoderActivations {
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
    init(_ configuration: EncoderConfiguration, tokens: Int) {
        let made = Self.widths(configuration).map { Buffer<Float>(tokens * $0) }
        (q, k, v, attended, middle, up) = (made[0], made[1], made[2], made[3], made[4], made[5])
    }

    /// All of them, in the order of `widths`.
    var buffers: [Buffer<Float>] { [q, k, v, attended, middle, up] }

    /// How many floats a token each of `buffers` holds.
    static func widths(_ configuration: EncoderConfiguration) -> [Int] {
        let C = configuration.hiddenSize
        return [C, C, C, C, C, configuration.intermediateSize]
    }
}

/// Where the blocks' activations are between the forward and the backward pass of a batch: as they are where
/// arithmetic is fp32, as halves otherwise, or nowhere, and the block runs forward again.
package final class EncoderActivationStore {
    // One a block, or one for all.
    private let floats: [EncoderActivations]
    // By block; none where floats are kept, or nothing is.
    private let halves: [[Buffer<UInt16>]]
    private let compute: Compute
    /// Whether a block must run forward again before its backward pass.
    package let recomputes: Bool

    /// Allocates for batches of up to `tokens` rows.
    package init(
        _ configuration: EncoderConfiguration, tokens: Int, recomputes: Bool, on compute: Compute
    ) {
        let count = Self.blocks(
            configuration, recomputes: recomputes, precision: compute.precision)
        floats = (0..<count.floats).map { _ in EncoderActivations(configuration, tokens: tokens) }
        halves = (0..<count.halves).map { _ in
            EncoderActivations.widths(configuration).map { Buffer(uninitialized: tokens * $0) }
        }
        self.compute = compute
        self.recomputes = recomputes
    }

    private static func blocks(
        _ configuration: EncoderConfiguration, recomputes: Bool, precision: Precision
    ) -> (floats: Int, halves: Int) {
        guard !recomputes else { return (1, 0) }
        return precision == .fp32 ? (configuration.layerCount, 0) : (1, configuration.layerCount)
    }

    /// Bytes for batches of up to `tokens` rows.
    package static func memory(
        _ configuration: EncoderConfiguration, tokens: Int, recomputes: Bool, precision: Precision
    ) -> Int {
        let count = blocks(configuration, recomputes: recomputes, precision: precision)
        return EncoderActivations.widths(configuration).reduce(0) {
            $0 + count.floats * Buffer<Float>.memory(tokens * $1)
                + count.halves * Buffer<UInt16>.memory(tokens * $1)
        }
    }

    /// What block `layer` writes into, and what its backward pass reads after `restore`.
    package subscript(layer: Int) -> EncoderActivations {
        floats.count == 1 ? floats[0] : floats[layer]
    }

    /// Keeps what block `layer` has written for the share `part` of the rows there is room for.
    func keep(layer: Int, tokens: Int, of capacity: Int) {
        forEachPiece(of: layer, tokens: tokens, of: capacity) { [compute] in
            compute.kernels.saturated_f16_from_f32($0, $2, $1)
        }
    }

    /// Brings back what was kept of block `layer`.
    func restore(layer: Int, tokens: Int, of capacity: Int) {
        forEachPiece(of: layer, tokens: tokens, of: capacity) { [compute] in
            compute.kernels.f32_from_f16($1, $2, $0)
        }
    }

    // Elements that a thread converts at once.
    private static let piece = 1 << 14

    private func forEachPiece(
        of layer: Int, tokens: Int, of capacity: Int,
        _ body: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt16>, Int) -> Void
    ) {
        guard !halves.isEmpty else { return }
        for (floats, halves) in zip(floats[0].buffers, halves[layer]) {
            let count = halves.count / capacity * tokens
            compute.pool.run(pieces: (count + Self.piece - 1) / Self.piece) { _, index in
                let begin = index * Self.piece
                body(
                    floats.pointer + begin, halves.pointer + begin, min(Self.piece, count - begin))
            }
        }
    }
}
