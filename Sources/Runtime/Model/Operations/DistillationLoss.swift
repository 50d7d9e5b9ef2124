package import LorikeetQuant
import QuantKernels

/// How far a model's predictions q are from another's, p, both through one output projection, some positions at a time.
///
///     loss = KL(p‖q) = Σᵥ pᵥ (log pᵥ − log qᵥ),   dz = q − p
///
/// p is of hidden states that were kept. As with `CrossEntropy`, the logits of a whole batch never exist.
/// Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2, at
/// temperature 1.
package final class DistillationLoss {
    private let output: LinearWeight
    private let activations: Activations
    private let chunk: Int
    // The model's hidden states, then the other's [2 chunk, width], and the former's gradient.
    private let hidden: Buffer<Float>
    private let dHidden: Buffer<Float>
    // Likewise [2 chunk, vocabulary].
    private let logits: Buffer<Float>
    private let losses: Buffer<Float>
    // c of c tanh(z / c).
    private let cap: Float?
    // Of one thread each [vocabulary].
    private let scratch: [Buffer<Float>]

    /// Creates the operation over the output projection [vocabulary, width].
    ///
    /// - chunk: positions at a time; nil for as many as keep the logits under 16 MiB.
    /// - cap: c of c tanh(z / c), which the logits become; nil leaves them as they are.
    package init(output: LinearWeight, chunk: Int? = nil, cap: Float? = nil, on compute: Compute) {
        self.output = output
        self.cap = cap
        activations = Activations(on: compute)
        self.chunk = chunk ?? max(1, CrossEntropy.usualChunk(vocabulary: output.rows) / 2)
        hidden = Buffer(2 * self.chunk * output.columns)
        dHidden = Buffer(self.chunk * output.columns)
        logits = Buffer(2 * self.chunk * output.rows)
        losses = Buffer(self.chunk)
        scratch = (0..<compute.pool.count).map { _ in Buffer(output.rows) }
    }

    /// The sum of the losses at `rows`.
    ///
    /// - h: the model's hidden states [tokens, width].
    /// - reference: the other's, as halves [tokens, width].
    package func forward(
        _ h: UnsafePointer<Float>, reference: UnsafePointer<UInt16>, rows: [Int],
        on compute: Compute
    ) -> Double {
        var sum = 0.0
        forEachChunk(h, reference, rows, on: compute) { chunk in
            sum += losses.elements[..<chunk.count].reduce(0) { $0 + Double($1) }
        }
        return sum
    }

    /// The sum of the losses at `rows`, and dh = lossScale · Wᵀ dz there, zero elsewhere.
    ///
    /// - h: the model's hidden states [tokens, width].
    /// - reference: the other's, as halves [tokens, width].
    /// - dh: [tokens, width]
    package func forwardBackward(
        _ h: UnsafePointer<Float>, reference: UnsafePointer<UInt16>, rows: [Int], tokens: Int,
        lossScale: Float, into dh: UnsafeMutablePointer<Float>, on compute: Compute
    ) -> Double {
        let C = output.columns
        dh.update(repeating: 0, count: tokens * C)
        var sum = 0.0
        forEachChunk(h, reference, rows, on: compute) { chunk in
            output.multiplyBackward(
                logits.pointer, count: chunk.count, into: dHidden.pointer, accumulate: false,
                using: activations, on: compute)
            compute.kernels.scale(lossScale, chunk.count * C, dHidden.pointer)
            for (i, row) in chunk.enumerated() {
                (dh + row * C).update(from: dHidden.pointer + i * C, count: C)
            }
            sum += losses.elements[..<chunk.count].reduce(0) { $0 + Double($1) }
        }
        return sum
    }

    // `body` finds the chunk's losses, and dz in the first half of the logits.
    private func forEachChunk(
        _ h: UnsafePointer<Float>, _ reference: UnsafePointer<UInt16>, _ rows: [Int],
        on compute: Compute, body: (ArraySlice<Int>) -> Void
    ) {
        let (C, V) = (output.columns, output.rows)
        for begin in stride(from: 0, to: rows.count, by: chunk) {
            let chunk = rows[begin..<min(begin + chunk, rows.count)]
            let n = chunk.count
            for (i, row) in chunk.enumerated() {
                (hidden.pointer + i * C).update(from: h + row * C, count: C)
                compute.kernels.f32_from_f16(
                    reference + row * C, C, hidden.pointer + (n + i) * C)
            }
            LinearWeight.multiply(
                [output], hidden.pointer, count: 2 * n, using: activations, on: compute
            ) { _ in logits.pointer }
            compute.pool.split(n) { thread, first, last in
                for i in first..<last {
                    losses[i] = compare(
                        logits.pointer + i * V, logits.pointer + (n + i) * V,
                        scratch[thread].pointer, on: compute)
                }
            }
            body(chunk)
        }
    }

    /// KL(p‖q) of one position; q's logits z become dz, p's become p.
    private func compare(
        _ z: UnsafeMutablePointer<Float>, _ reference: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutablePointer<Float>, on compute: Compute
    ) -> Float {
        let (V, kernels) = (output.rows, compute.kernels)
        if let cap {
            kernels.soft_cap(z, V, 1, cap)
            kernels.soft_cap(reference, V, 1, cap)
        }
        // Σ p (z_p − z_q) less both normalizers' difference: the logits are gone once they are probabilities.
        scratch.update(from: reference, count: V)
        kernels.axpy(-1, z, V, scratch)
        let normalizer = kernels.softmax(reference, V, 1)
        let loss: Float
        if let cap {
            let difference = kernels.dot(reference, scratch, V)
            scratch.update(from: z, count: V)
            loss = difference - normalizer + kernels.softmax(z, V, 1)
            kernels.axpy(-1, reference, V, z)
            kernels.soft_cap_backward(scratch, V, 1, cap, z)
        } else {
            loss = kernels.dot(reference, scratch, V) - normalizer + kernels.softmax(z, V, 1)
            kernels.axpy(-1, reference, V, z)
        }
        return loss
    }
}
