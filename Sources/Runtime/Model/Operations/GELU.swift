package import LorikeetQuant
import QuantKernels

/// The activation of an encoder's feed-forward layer: h = x Φ(x), by erf (Hendrycks and Gimpel, 2016).
package enum GELU {
    // A thread's slice begins on a cache line of its own.
    private static let grain = 16

    /// h = x Φ(x).
    ///
    /// - x: [count]
    /// - h: [count]; may be `x`.
    package static func forward(
        _ x: UnsafePointer<Float>, count: Int, into h: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        compute.pool.split(count, by: grain) { _, begin, end in
            compute.kernels.gelu(x + begin, end - begin, h + begin)
        }
    }

    /// dx = dh ⊙ (Φ(x) + x φ(x)).
    ///
    /// - x: [count]
    /// - dh: [count]; becomes dx.
    package static func backward(
        _ dh: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, count: Int,
        on compute: Compute
    ) {
        compute.pool.split(count, by: grain) { _, begin, end in
            compute.kernels.gelu_backward(x + begin, end - begin, dh + begin)
        }
    }
}
