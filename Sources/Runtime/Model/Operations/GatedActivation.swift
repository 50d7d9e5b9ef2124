package import LorikeetQuant
import QuantKernels

/// The gated activation of the feed-forward layer (Shazeer 2020): h = σ(gate) ⊙ up, of some σ.
public enum GatedActivation: Sendable, Equatable {
    /// silu(x) = x / (1 + exp(−x)): SwiGLU.
    case silu
    /// gelu(x) = x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: GeGLU, with PyTorch's `approximate="tanh"`.
    case gelu

    // A thread's slice begins on a cache line of its own.
    private static let grain = 16

    /// h = σ(gate) ⊙ up.
    ///
    /// - gate: [count]
    /// - up: [count]
    /// - h: [count]
    package func forward(
        gate: UnsafePointer<Float>, up: UnsafePointer<Float>, count: Int,
        into h: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        let kernel = self == .silu ? compute.kernels.swiglu : compute.kernels.geglu
        compute.pool.split(count, by: Self.grain) { _, begin, end in
            kernel?(gate + begin, up + begin, end - begin, h + begin)
        }
    }

    /// d gate = dh ⊙ up ⊙ σ'(gate), d up = dh ⊙ σ(gate).
    ///
    /// - dh: [count]
    /// - gate: [count]; becomes d gate.
    /// - up: [count]; becomes d up.
    package func backward(
        _ dh: UnsafePointer<Float>, gate: UnsafeMutablePointer<Float>,
        up: UnsafeMutablePointer<Float>, count: Int, on compute: Compute
    ) {
        let kernel =
            self == .silu ? compute.kernels.swiglu_backward : compute.kernels.geglu_backward
        compute.pool.split(count, by: Self.grain) { _, begin, end in
            kernel?(gate + begin, up + begin, dh + begin, end - begin, gate + begin, up + begin)
        }
    }
}
