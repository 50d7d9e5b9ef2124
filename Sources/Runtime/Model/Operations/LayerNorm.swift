package import LorikeetQuant
import QuantKernels

/// Layer normalization with frozen weight and bias (Ba, Kiros and Hinton, 2016).
package struct LayerNorm: Sendable {
    /// w [width].
    package let weight: Buffer<Float>
    /// b [width].
    package let bias: Buffer<Float>
    /// Added to the variance.
    package let epsilon: Float

    /// Creates the operation.
    package init(weight: Buffer<Float>, bias: Buffer<Float>, epsilon: Float) {
        precondition(weight.count == bias.count, "\(weight.count) weights, \(bias.count) biases")
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon
    }

    /// What the backward pass needs of the forward pass: μ and ρ of every row, [count] each.
    package struct Statistics {
        let mean: Buffer<Float>
        let rho: Buffer<Float>

        /// Room for `count` rows.
        package init(_ count: Int) {
            mean = Buffer(count)
            rho = Buffer(count)
        }

        /// Bytes for `count` rows.
        package static func memory(_ count: Int) -> Int { 2 * Buffer<Float>.memory(count) }
    }

    /// y = ρ (x − μ) ⊙ w + b, ρ = 1 / √(var(x) + ε), a row at a time.
    ///
    /// - x: [count, width]
    /// - y: [count, width]; may be `x`.
    /// - statistics: receives μ and ρ.
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, into y: UnsafeMutablePointer<Float>,
        _ statistics: Statistics, on compute: Compute
    ) {
        let C = weight.count
        let (mean, rho) = (statistics.mean.pointer, statistics.rho.pointer)
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                compute.kernels.layernorm(
                    x + row * C, weight.pointer, bias.pointer, C, epsilon, y + row * C, mean + row,
                    rho + row)
            }
        }
    }

    /// dx = ρ (g − mean(g) − x̂ mean(g ⊙ x̂)), with g = dy ⊙ w and x̂ = ρ (x − μ).
    ///
    /// - dy: [count, width]; becomes dx.
    /// - x: the forward pass's input [count, width].
    /// - statistics: its μ and ρ.
    package func backward(
        _ dy: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, _ statistics: Statistics,
        count: Int, on compute: Compute
    ) {
        let C = weight.count
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                compute.kernels.layernorm_backward(
                    x + row * C, weight.pointer, C, statistics.mean[row], statistics.rho[row],
                    dy + row * C)
            }
        }
    }
}
