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
    /// - dy: [count, width]; g is left in it.
    /// - x: the forward pass's input [count, width].
    /// - inverseRMS: ρ [count]
    /// - dx: [count, width]
    package func backward(
        _ dy: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>,
        inverseRMS: UnsafePointer<Float>, count: Int, addingTo dx: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        let C = weight.count
        let w = weight.pointer
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                let g = dy + row * C
                let x = x + row * C
                let rho = inverseRMS[row]
                for i in 0..<C { g[i] *= w[i] }
                let mean = compute.kernels.dot(g, x, C) / Float(C)
                compute.kernels.axpy(rho, g, C, dx + row * C)
                compute.kernels.axpy(-rho * rho * rho * mean, x, C, dx + row * C)
            }
        }
    }
}
