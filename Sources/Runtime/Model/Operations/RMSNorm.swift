package import LorikeetQuant
import QuantKernels

/// Root-mean-square normalization with a frozen weight (Zhang & Sennrich 2019).
package struct RMSNorm: Sendable {
    /// w [width].
    package let weight: Buffer<Float>
    /// Added to the mean square.
    package let epsilon: Float

    /// Creates the operation.
    package init(weight: Buffer<Float>, epsilon: Float) {
        self.weight = weight
        self.epsilon = epsilon
    }

    /// Creates the operation with w = `weight` + `offset`: Gemma's norms are stored less one.
    init(weight: Buffer<Float>, offset: Float, epsilon: Float) {
        self.init(
            weight: offset == 0 ? weight : Buffer(weight.elements.map { $0 + offset }),
            epsilon: epsilon)
    }

    /// y = ρ x ⊙ w, ρ = 1 / √(mean(x²) + ε), a row at a time.
    ///
    /// - x: [count, width]
    /// - y: [count, width]; may be `x`.
    /// - inverseRMS: ρ [count], for the backward pass.
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, into y: UnsafeMutablePointer<Float>,
        inverseRMS: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        let C = weight.count
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                inverseRMS[row] = compute.kernels.rmsnorm(
                    x + row * C, weight.pointer, C, epsilon, y + row * C)
            }
        }
    }

    /// dx += ρ g − x ρ³ (g · x) / width, with g = dy ⊙ w.
    ///
    /// - dy: [count, width]
    /// - x: the forward pass's input [count, width].
    /// - inverseRMS: ρ [count]
    /// - dx: [count, width]
    package func backward(
        _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>,
        inverseRMS: UnsafePointer<Float>, count: Int, addingTo dx: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        let C = weight.count
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                compute.kernels.rmsnorm_backward(
                    dy + row * C, x + row * C, weight.pointer, C, inverseRMS[row], dx + row * C)
            }
        }
    }
}
