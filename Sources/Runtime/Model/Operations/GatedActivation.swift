package import LorikeetQuant
import QuantKernels

/// The gated activation of the feed-forward layer (Shazeer 2020): h = silu(gate) ⊙ up.
package enum SwiGLU {
    // A thread's slice begins on a cache line of its own.
    private static let grain = 16

    /// h = gate ⊙ σ(gate) ⊙ up.
    ///
    /// - gate: [count]
    /// - up: [count]
    /// - h: [count]
    package static func forward(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>, count: Int,
        into h: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        compute.pool.split(count, by: grain) { _, begin, end in
            compute.kernels.swiglu(gate + begin, up + begin, end - begin, h + begin)
        }
    }

    /// d gate = dh ⊙ up ⊙ σ(gate) (1 + gate (1 − σ(gate))), d up = dh ⊙ gate ⊙ σ(gate).
    ///
    /// - dh: [count]
    /// - gate: [count]; becomes d gate.
    /// - up: [count]; becomes d up.
    package static func backward(
        _ dh: UnsafePointer<Float>, gate: UnsafeMutablePointer<Float>,
        up: UnsafeMutablePointer<Float>, count: Int, on compute: Compute
    ) {
        compute.pool.split(count, by: grain) { _, begin, end in
            compute.kernels.swiglu_backward(
                gate + begin, up + begin, dh + begin, end - begin, gate + begin, up + begin)
        }
    }
}
