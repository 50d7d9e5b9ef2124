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
    private let labelSmoothing: Float
    // [vocabulary], for sums over logits; none where labels are not smoothed.
    private let ones: Buffer<Float>
    // c of c tanh(z / c), and logits so capped, of one thread each [vocabulary].
    private let cap: (value: Float, kept: [Buffer<Float>])?

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
    /// - labelSmoothing: ε of `forwardBackward`.
    /// - cap: c of c tanh(z / c), which the logits become; nil leaves them as they are.
    package init(
        output: LinearWeight, chunk: Int? = nil, labelSmoothing: Double = 0, cap: Float? = nil,
        on compute: Compute
    ) {
        self.cap = cap.map { value in
            (value, (0..<compute.pool.count).map { _ in Buffer(output.rows) })
        }
        self.output = output
        activations = Activations(on: compute)
        self.chunk = chunk ?? Self.usualChunk(vocabulary: output.rows)
        hidden = Buffer(self.chunk * output.columns)
        dHidden = Buffer(self.chunk * output.columns)
        logits = Buffer(self.chunk * output.rows)
        losses = Buffer(self.chunk)
        self.labelSmoothing = Float(labelSmoothing)
        ones = Buffer(labelSmoothing > 0 ? output.rows : 0)
        ones.elements.update(repeating: 1)
    }

    /// As many positions as keep the logits under 16 MiB.
    package static func usualChunk(vocabulary: Int) -> Int {
        min(256, max(16, 4 << 20 / vocabulary))
    }

    /// Bytes for so many positions at a time, with what the products work with: gradients of logits in
    /// integers, where the projection is held as tiles.
    ///
    /// - cappedThreads: threads that cap logits; 0 where these are left as they are.
    package static func memory(
        vocabulary: Int, width: Int, chunk: Int, isTiled: Bool, cappedThreads: Int = 0
    ) -> Int {
        cappedThreads * Buffer<Float>.memory(vocabulary) + 2 * Buffer<Float>.memory(chunk * width)
            + Buffer<Float>.memory(chunk * vocabulary)
            + Buffer<Float>.memory(chunk)
            + (isTiled ? Activations.memory(count: chunk, columns: max(vocabulary, width)) : 0)
    }

    /// −log pₜ of each target, p = softmax(W h); `each` gets the target's index and its loss, in order.
    ///
    /// - h: [rows, width]
    /// - other: takes the output projection's place.
    package func forward(
        _ h: UnsafePointer<Float>, targets: [Target], through other: LinearWeight? = nil,
        on compute: Compute, each: (Int, Float) -> Void
    ) {
        for begin in stride(from: 0, to: targets.count, by: chunk) {
            let chunk = targets[begin..<min(begin + chunk, targets.count)]
            compareChunk(h, chunk, through: other ?? output, on: compute) { z, token, _ in
                let logit = z[token]
                return compute.kernels.softmax(z, output.rows, 1) - logit
            }
            for i in 0..<chunk.count { each(begin + i, losses[i]) }
        }
    }

    /// The loss of each target, its labels smoothed, to `each`, and dh = lossScale · Wᵀ dz at the targets'
    /// rows, zero elsewhere.
    ///
    ///     loss = (1 - ε) (−log pₜ) + ε meanᵥ(−log pᵥ) = log Σ exp z - (1 - ε) zₜ - ε mean z
    ///     dz = p - (1 - ε) 1ₜ - ε / V
    ///
    /// Source: Szegedy et al., "Rethinking the Inception Architecture" (2016), section 7; torch's
    /// `cross_entropy(label_smoothing:)`.
    ///
    /// - h: [rows, width]
    /// - dh: [rows, width]
    package func forwardBackward(
        _ h: UnsafePointer<Float>, rows: Int, targets: [Target], lossScale: Float,
        into dh: UnsafeMutablePointer<Float>, on compute: Compute, each: (Int, Float) -> Void
    ) {
        let C = output.columns
        dh.update(repeating: 0, count: rows * C)
        for begin in stride(from: 0, to: targets.count, by: chunk) {
            let chunk = targets[begin..<min(begin + chunk, targets.count)]
            compareChunk(h, chunk, through: output, on: compute) { z, token, thread in
                guard let cap else { return differentiate(z, token, on: compute) }
                let (V, kept) = (output.rows, cap.kept[thread].pointer)
                kept.update(from: z, count: V)
                defer { compute.kernels.soft_cap_backward(kept, V, 1, cap.value, z) }
                return differentiate(z, token, on: compute)
            }
            output.multiplyBackward(
                logits.pointer, count: chunk.count, into: dHidden.pointer, accumulate: false,
                using: activations, on: compute)
            // The product is linear: scaling its few results does for the many logits.
            compute.kernels.scale(lossScale, chunk.count * C, dHidden.pointer)
            for (i, target) in chunk.enumerated() {
                (dh + target.row * C).update(from: dHidden.pointer + i * C, count: C)
                each(begin + i, losses[i])
            }
        }
    }

    /// The loss of one target; its logits z [vocabulary] become dz.
    private func differentiate(
        _ z: UnsafeMutablePointer<Float>, _ token: Int, on compute: Compute
    ) -> Float {
        let (V, kernels) = (output.rows, compute.kernels)
        let logit = z[token]
        guard labelSmoothing > 0 else {
            let loss = kernels.softmax(z, V, 1) - logit
            z[token] -= 1
            return loss
        }
        let (kept, share) = (1 - labelSmoothing, labelSmoothing / Float(V))
        let sum = kernels.dot(z, ones.pointer, V)
        let loss = kernels.softmax(z, V, 1) - kept * logit - share * sum
        kernels.axpy(-share, ones.pointer, V, z)
        z[token] -= kept
        return loss
    }

    // Losses of a chunk: `compare` turns a target's logits and its token into its loss, on a thread.
    private func compareChunk(
        _ h: UnsafePointer<Float>, _ targets: ArraySlice<Target>, through output: LinearWeight,
        on compute: Compute,
        _ compare: (_ z: UnsafeMutablePointer<Float>, _ token: Int, _ thread: Int) -> Float
    ) {
        let (C, V) = (output.columns, output.rows)
        for (i, target) in targets.enumerated() {
            (hidden.pointer + i * C).update(from: h + target.row * C, count: C)
        }
        LinearWeight.multiply(
            [output], hidden.pointer, count: targets.count, using: activations, on: compute
        ) { _ in logits.pointer }
        compute.pool.split(targets.count) { thread, begin, end in
            for i in begin..<end {
                let token = Int(targets[targets.startIndex + i].token)
                if let cap { compute.kernels.soft_cap(logits.pointer + i * V, V, 1, cap.value) }
                losses[i] = compare(logits.pointer + i * V, token, thread)
            }
        }
    }
}
