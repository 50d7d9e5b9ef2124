package import LorikeetQuant
import QuantKernels

/// Cross-entropy through the output projection, some positions at a time.
///
/// The logits of a whole batch never exist: a chunk's are computed, turned into loss and gradient, and
/// overwritten by the next chunk's. Masked positions are left out before the product.
package final class CrossEntropy {
    private let output: LinearWeight
    private let activations: Activations
    private let chunk: Int
    // [chunk, width] and its gradient
    private let hidden: Buffer<Float>
    private let dHidden: Buffer<Float>
    // [chunk, vocabulary]
    private let logits: Buffer<Float>
    private let losses: Buffer<Float>

    /// A position whose loss counts, and the token that should follow it.
    package struct Target {
        /// Row of the hidden states.
        package var row: Int
        /// The token expected.
        package var token: Int32

        /// Creates a target.
        package init(row: Int, token: Int32) {
            self.row = row
            self.token = token
        }
    }

    /// Creates the operation over the output projection [vocabulary, width].
    ///
    /// - chunk: positions at a time; nil for as many as keep the logits under 16 MiB.
    package init(output: LinearWeight, chunk: Int? = nil, on compute: Compute) {
        self.output = output
        activations = Activations(on: compute)
        self.chunk = chunk ?? Self.usualChunk(vocabulary: output.rows)
        hidden = Buffer(self.chunk * output.columns)
        dHidden = Buffer(self.chunk * output.columns)
        logits = Buffer(self.chunk * output.rows)
        losses = Buffer(self.chunk)
    }

    /// As many positions as keep the logits under 16 MiB.
    package static func usualChunk(vocabulary: Int) -> Int {
        min(256, max(16, 4 << 20 / vocabulary))
    }

    /// Bytes for so many positions at a time, with what the products work with: gradients of logits in
    /// integers, where the projection is held as tiles.
    package static func memory(vocabulary: Int, width: Int, chunk: Int, isTiled: Bool) -> Int {
        2 * Buffer<Float>.memory(chunk * width) + Buffer<Float>.memory(chunk * vocabulary)
            + Buffer<Float>.memory(chunk)
            + (isTiled ? Activations.memory(count: chunk, columns: max(vocabulary, width)) : 0)
    }

    /// −log pₜ of each target, p = softmax(W h); `each` gets the target's index and its loss, in order.
    ///
    /// - h: [rows, width]
    package func forward(
        _ h: UnsafePointer<Float>, targets: [Target], on compute: Compute,
        each: (Int, Float) -> Void
    ) {
        for begin in stride(from: 0, to: targets.count, by: chunk) {
            let chunk = targets[begin..<min(begin + chunk, targets.count)]
            compareChunk(h, chunk, isGradient: false, on: compute)
            for i in 0..<chunk.count { each(begin + i, losses[i]) }
        }
    }

    /// Returns Σ −log pₜ, and writes dh = lossScale · Wᵀ (p − 1ₜ) at the targets' rows, zero elsewhere.
    ///
    /// - h: [rows, width]
    /// - dh: [rows, width]
    package func forwardBackward(
        _ h: UnsafePointer<Float>, rows: Int, targets: [Target], lossScale: Float,
        into dh: UnsafeMutablePointer<Float>, on compute: Compute
    ) -> Double {
        let C = output.columns
        dh.update(repeating: 0, count: rows * C)
        var sum = 0.0
        for begin in stride(from: 0, to: targets.count, by: chunk) {
            let chunk = targets[begin..<min(begin + chunk, targets.count)]
            compareChunk(h, chunk, isGradient: true, on: compute)
            output.multiplyBackward(
                logits.pointer, count: chunk.count, into: dHidden.pointer, accumulate: false,
                using: activations, on: compute)
            // The product is linear: scaling its few results does for the many logits.
            compute.kernels.scale(lossScale, chunk.count * C, dHidden.pointer)
            for (i, target) in chunk.enumerated() {
                (dh + target.row * C).update(from: dHidden.pointer + i * C, count: C)
                sum += Double(losses[i])
            }
        }
        return sum
    }

    // Losses of a chunk; the logits become p, or their own gradients p − 1ₜ.
    private func compareChunk(
        _ h: UnsafePointer<Float>, _ targets: ArraySlice<Target>, isGradient: Bool,
        on compute: Compute
    ) {
        let (C, V) = (output.columns, output.rows)
        for (i, target) in targets.enumerated() {
            (hidden.pointer + i * C).update(from: h + target.row * C, count: C)
        }
        LinearWeight.multiply(
            [output], hidden.pointer, count: targets.count, using: activations, on: compute
        ) { _ in logits.pointer }
        compute.pool.split(targets.count) { _, begin, end in
            for i in begin..<end {
                let z = logits.pointer + i * V
                let token = Int(targets[targets.startIndex + i].token)
                let logit = z[token]
                losses[i] = compute.kernels.softmax(z, V, 1) - logit
                if isGradient { z[token] -= 1 }
            }
        }
    }
}
