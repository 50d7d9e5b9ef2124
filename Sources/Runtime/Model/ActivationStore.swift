package import LorikeetQuant
import QuantKernels

/// Where the blocks' activations are between the forward and the backward pass of a batch.
///
/// Each block writes into floats. They are kept for the backward pass in one of three ways: as they are, a
/// set of floats a block, where arithmetic is fp32; as halves, beside one set of floats that all blocks
/// use in turn; or not at all, and the block runs forward again.
package final class ActivationStore<Kept: KeptActivations> {
    // One a block, or one for all.
    private let floats: [Kept]
    // One a block, or none.
    private let halves: [HalfActivations<Kept>]
    private let compute: Compute
    /// Whether a block must run forward again before its backward pass.
    package let recomputes: Bool

    /// Allocates for batches of up to `tokens` rows.
    package init(
        _ configuration: Kept.Configuration, tokens: Int, recomputes: Bool, on compute: Compute
    ) {
        let (floatBlocks, halfBlocks) = Self.blocks(
            configuration, recomputes: recomputes, precision: compute.precision)
        floats = (0..<floatBlocks).map { _ in Kept(configuration, tokens: tokens) }
        halves = (0..<halfBlocks).map { _ in HalfActivations(configuration, tokens: tokens) }
        self.compute = compute
        self.recomputes = recomputes
    }

    /// How many blocks' activations there is room for, as floats and as halves.
    private static func blocks(
        _ configuration: Kept.Configuration, recomputes: Bool, precision: Precision
    ) -> (floats: Int, halves: Int) {
        guard !recomputes else { return (1, 0) }
        return precision == .fp32 ? (configuration.layerCount, 0) : (1, configuration.layerCount)
    }

    /// Bytes for batches of up to `tokens` rows.
    package static func memory(
        _ configuration: Kept.Configuration, tokens: Int, recomputes: Bool, precision: Precision
    ) -> Int {
        let blocks = blocks(configuration, recomputes: recomputes, precision: precision)
        return blocks.floats
            * Kept.memory(configuration, tokens: tokens, as: Float.self)
            + blocks.halves
            * Kept.memory(configuration, tokens: tokens, as: UInt16.self)
    }

    /// What block `layer` writes into, and what its backward pass reads after `restore`.
    package subscript(layer: Int) -> Kept {
        floats.count == 1 ? floats[0] : floats[layer]
    }

    /// Keeps what block `layer` has written for `tokens` rows.
    func keep(layer: Int, tokens: Int) {
        if !halves.isEmpty { halves[layer].store(floats[0], tokens: tokens, on: compute) }
    }

    /// Brings back what was kept of block `layer`.
    func restore(layer: Int, tokens: Int) {
        if !halves.isEmpty { halves[layer].load(into: floats[0], tokens: tokens, on: compute) }
    }
}

/// A block's activations as IEEE halves: 2⁻¹² of each at most is lost, which 16-bit products lose as well.
private final class HalfActivations<Kept: KeptActivations> {
    private let buffers: [Buffer<UInt16>]
    private let scales: [Float]
    private let tokens: Int

    init(_ configuration: Kept.Configuration, tokens: Int) {
        self.tokens = tokens
        let widths = Kept.widths(configuration)
        scales = Kept.halfScales(configuration)
        buffers = widths.map { Buffer(uninitialized: tokens * $0) }
    }

    func store(_ activations: Kept, tokens: Int, on compute: Compute) {
        forEachPiece(of: activations, tokens: tokens, on: compute) { floats, halves, count, scale in
            // The last block's floats are read again: they become what they were.
            if scale != 1 { compute.kernels.scale(scale, count, floats) }
            compute.kernels.saturated_f16_from_f32(floats, count, halves)
            if scale != 1 { compute.kernels.scale(1 / scale, count, floats) }
        }
    }

    func load(into activations: Kept, tokens: Int, on compute: Compute) {
        forEachPiece(of: activations, tokens: tokens, on: compute) { floats, halves, count, scale in
            compute.kernels.f32_from_f16(halves, count, floats)
            if scale != 1 { compute.kernels.scale(1 / scale, count, floats) }
        }
    }

    private func forEachPiece(
        of activations: Kept, tokens: Int, on compute: Compute,
        _ body: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt16>, Int, Float) -> Void
    ) {
        for (i, (floats, halves)) in zip(activations.buffers, buffers).enumerated()
        where halves.count > 0 {
            let (scale, count) = (scales[i], halves.count / self.tokens * tokens)
            // Elements that a thread converts at once.
            let piece = 1 << 14
            compute.pool.run(pieces: (count + piece - 1) / piece) { _, index in
                let begin = index * piece
                body(
                    floats.pointer + begin, halves.pointer + begin,
                    min(piece, count - begin), scale)
            }
        }
    }
}
