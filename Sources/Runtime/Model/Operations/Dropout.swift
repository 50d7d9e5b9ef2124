package import LorikeetQuant
import QuantKernels

/// The dropout of one linear layer's low-rank term, which sees m ⊙ x in place of x.
///
/// An element of m is 0 with probability p and else 1 / (1 − p). The mask is stored nowhere: it follows from
/// the keys of the tokens, and the backward pass, or a block that runs forward again, makes it anew.
/// Source: PEFT's `lora_dropout`; Srivastava et al., "Dropout" (2014), section 4.
package struct Dropout: Sendable {
    private let threshold: UInt32
    private let scale: Float
    private let keys: NoiseKeys
    private let place: Int

    /// Masks with the share `probability` of zeros, the layer's own by `place`.
    package init(probability: Double, keys: NoiseKeys, place: Int) {
        precondition(0 < probability && probability < 1, "dropout of \(probability)")
        threshold = UInt32(probability * 0x1p32)
        scale = Float(1 / (1 - probability))
        self.keys = keys
        self.place = place
    }

    /// y (+)= m ⊙ x at the rows `rows`.
    ///
    /// The gradient in x is that of y under the same mask, so this is the backward pass too.
    ///
    /// - x: [tokens, width]
    /// - accumulate: whether `y` is added to, or overwritten.
    /// - y: [tokens, width]; may be `x` where it is overwritten.
    package func apply(
        _ x: UnsafePointer<Float>, rows: Range<Int>, width: Int, accumulate: Bool = false,
        into y: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        for row in rows {
            compute.kernels.dropout(
                x + row * width, width, keys.key(token: row, place: place), threshold, scale,
                accumulate ? 1 : 0, y + row * width)
        }
    }
}
