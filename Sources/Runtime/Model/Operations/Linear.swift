package import LorikeetQuant
import QuantKernels

/// A frozen linear layer that may carry a low-rank term: y = c ⊙ (W x + s B (A x)) + b, in training with
/// dropout y = W x + s B (A (m ⊙ x)) + b.
package struct Linear: Sendable {
    /// W [out, in].
    package let weight: LinearWeight
    /// b [out]; nil for zeros.
    package let bias: Buffer<Float>?
    // What products take, made once: a token allocates none.
    private let weights: [LinearWeight]

    /// Creates the layer.
    package init(weight: LinearWeight, bias: Buffer<Float>? = nil) {
        self.weight = weight
        self.bias = bias
        weights = [weight]
    }

    /// Y (+)= c ⊙ (X Wᵀ + s U Bᵀ) + b, U = (M ⊙ X) Aᵀ.
    ///
    /// - x: [count, in]
    /// - dropout: M, or nil for ones.
    /// - y: [count, out]
    /// - accumulate: whether the result is added to what `y` holds.
    /// - scratch: room for X in integers and U [count, rank].
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, delta: LowRankDelta?, dropout: Dropout? = nil,
        accumulate: Bool = false, into y: UnsafeMutablePointer<Float>, scratch: LinearScratch,
        on compute: Compute
    ) {
        // c multiplies the layer's result, not what `y` holds.
        let isApart = accumulate && delta?.outputScale != nil
        let product = isApart ? scratch.product.pointer : y
        LinearWeight.multiply(
            weights, x, count: count, accumulate: accumulate && !isApart,
            using: scratch.activations, on: compute
        ) { _ in product }
        if let delta {
            add(delta, dropout, to: product, x, count: count, scratch: scratch, on: compute)
            if let c = delta.outputScale {
                scale(product, by: c, count: count, into: y, accumulate: accumulate, on: compute)
            }
        }
        addBias(to: y, count: count, on: compute)
    }

    /// Y += b.
    fileprivate func addBias(
        to y: UnsafeMutablePointer<Float>, count: Int, on compute: Compute
    ) {
        guard let bias else { return }
        let O = weight.rows
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end { compute.kernels.axpy(1, bias.pointer, O, y + row * O) }
        }
    }

    /// Y (+)= X Wᵀ + b with low-rank terms of some rows.
    ///
    /// - x: [count, in]
    /// - terms: for weight 0.
    /// - accumulate: whether the result is added to what `y` holds.
    /// - y: [count, out]
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, terms: LowRankProduct, accumulate: Bool,
        into y: UnsafeMutablePointer<Float>, scratch: LinearScratch, on compute: Compute
    ) {
        LinearWeight.multiply(
            weights, x, count: count, accumulate: accumulate, terms: terms,
            using: scratch.activations, on: compute
        ) { _ in y }
        addBias(to: y, count: count, on: compute)
    }

    /// Y (+)= c ⊙ Z.
    ///
    /// - z: [count, out]; may be `y`.
    /// - c: [out]
    fileprivate func scale(
        _ z: UnsafePointer<Float>, by c: Buffer<Float>, count: Int,
        into y: UnsafeMutablePointer<Float>, accumulate: Bool = false, on compute: Compute
    ) {
        let (O, c) = (weight.rows, c.pointer)
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end {
                let (z, y) = (z + row * O, y + row * O)
                if accumulate {
                    for o in 0..<O { y[o] += c[o] * z[o] }
                } else {
                    for o in 0..<O { y[o] = c[o] * z[o] }
                }
            }
        }
    }

    /// Y += s U Bᵀ, U = (M ⊙ X) Aᵀ.
    func add(
        _ delta: LowRankDelta, _ dropout: Dropout?, to y: UnsafeMutablePointer<Float>,
        _ x: UnsafePointer<Float>, count: Int, scratch: LinearScratch, on compute: Compute
    ) {
        check(delta)
        let (I, O, r) = (weight.columns, weight.rows, delta.rank)
        let u = scratch.u.pointer
        let masked = scratch.masked.pointer
        let input = dropout == nil ? x : UnsafePointer(masked)
        compute.pool.split(count) { thread, begin, end in
            dropout?.apply(x, rows: begin..<end, width: I, into: masked, on: compute)
            DenseProduct.multiply(
                rows: end - begin, columns: r, inner: I, input + begin * I, lda: I,
                delta.a.pointer, .transposed, ldb: I, into: u + begin * r, ldc: r, thread: thread,
                on: compute)
            DenseProduct.multiply(
                rows: end - begin, columns: O, inner: r, alpha: delta.scale, u + begin * r, lda: r,
                delta.b.pointer, .transposed, ldb: r, accumulate: true, into: y + begin * O, ldc: O,
                thread: thread,
                on: compute)
        }
    }

    /// dX (+)= dZ W + s M ⊙ V A, dA += s' Vᵀ (M ⊙ X), dB += s' dZᵀ U, with U = (M ⊙ X) Aᵀ and V = dZ B.
    ///
    /// dZ = c ⊙ dY is the gradient of what c multiplies, and dc += Σ dY ⊙ Z over the rows. s' is s: the
    /// loss's own scale is in dY already.
    ///
    /// - dy: [count, out]
    /// - x: the forward pass's input [count, in].
    /// - dropout: the forward pass's M.
    /// - gradient: where dA, dB and dc are added, or nil for factors that do not learn. An empty dA is left
    ///   out: A does not learn.
    /// - dx: [count, in], or nil where nothing below learns.
    /// - accumulate: whether `dx` is added to, or overwritten.
    /// - scratch: room for U and V [count, rank].
    package func backward(
        _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>, count: Int, delta: LowRankDelta?,
        dropout: Dropout? = nil, gradient: LowRankGradient?,
        into dx: UnsafeMutablePointer<Float>?, accumulate: Bool, scratch: LinearScratch,
        on compute: Compute
    ) {
        let dy = unscaled(
            dy, x: x, count: count, delta: delta, gradient: gradient?.outputScale,
            scratch: scratch, on: compute)
        if let dx {
            weight.multiplyBackward(
                dy, count: count, into: dx, accumulate: accumulate, using: scratch.activations,
                on: compute)
        }
        guard let delta else { return }
        check(delta)
        let (I, O, r, s) = (weight.columns, weight.rows, delta.rank, delta.scale)
        let (u, v) = (scratch.u.pointer, scratch.v.pointer)
        let learnsA = gradient.map { $0.a.count > 0 } ?? false
        // First what goes into dX before it is masked, then M ⊙ X.
        let masked = scratch.masked.pointer
        let input = dropout == nil ? x : UnsafePointer(masked)
        compute.pool.split(count) { thread, begin, end in
            if dx != nil || learnsA {
                DenseProduct.multiply(
                    rows: end - begin, columns: r, inner: O, dy + begin * O, lda: O,
                    delta.b.pointer, ldb: r, into: v + begin * r, ldc: r, thread: thread,
                    on: compute)
            }
            if let dx {
                let product = dropout == nil ? dx : masked
                DenseProduct.multiply(
                    rows: end - begin, columns: I, inner: r, alpha: s, v + begin * r, lda: r,
                    delta.a.pointer, ldb: I, accumulate: dropout == nil,
                    into: product + begin * I, ldc: I, thread: thread, on: compute)
                dropout?.apply(
                    product, rows: begin..<end, width: I, accumulate: true, into: dx, on: compute)
            }
            if gradient != nil {
                dropout?.apply(x, rows: begin..<end, width: I, into: masked, on: compute)
                DenseProduct.multiply(
                    rows: end - begin, columns: r, inner: I, input + begin * I, lda: I,
                    delta.a.pointer, .transposed, ldb: I, into: u + begin * r, ldc: r,
                    thread: thread,
                    on: compute)
            }
        }
        guard let gradient else { return }
        precondition(
            [0, delta.a.count].contains(gradient.a.count) && gradient.b.count == delta.b.count,
            "gradients of another shape than their factors")
        // Divided by columns of dA and rows of dB: a thread sums over all tokens, in their order.
        let columns = learnsA ? I : 0
        compute.pool.split(columns + O, by: 16) { thread, begin, end in
            let a = min(begin, columns)..<min(end, columns)
            let b = max(begin - columns, 0)..<max(end - columns, 0)
            DenseProduct.multiply(
                rows: r, columns: a.count, inner: count, alpha: s, v, .transposed, lda: r,
                input + a.lowerBound, ldb: I, accumulate: true,
                into: gradient.a.pointer + a.lowerBound,
                ldc: I, thread: thread,
                on: compute)
            // dBᵀ = Uᵀ dY: dY is wide and is read as it lies; only the few rows of U are transposed.
            let transposed = scratch.gradient.pointer + b.lowerBound * r
            DenseProduct.multiply(
                rows: r, columns: b.count, inner: count, alpha: s, u, .transposed, lda: r,
                dy + b.lowerBound, ldb: O, into: transposed, ldc: b.count, thread: thread,
                on: compute)
            for (i, row) in b.enumerated() {
                for j in 0..<r { gradient.b[row * r + j] += transposed[j * b.count + i] }
            }
        }
    }

    /// dZ = c ⊙ dY, and dc += Σ dY ⊙ Z; dY itself where there is no c.
    ///
    /// Z = X Wᵀ + s U Bᵀ is computed again: Y is not kept everywhere, and Z = Y / c says nothing where c
    /// is zero.
    private func unscaled(
        _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>, count: Int, delta: LowRankDelta?,
        gradient: Buffer<Float>?, scratch: LinearScratch, on compute: Compute
    ) -> UnsafePointer<Float> {
        guard let delta, let c = delta.outputScale else { return dy }
        let (O, z) = (weight.rows, scratch.product.pointer)
        if let gradient {
            precondition(gradient.count == O, "a gradient of \(gradient.count) output scales")
            LinearWeight.multiply(
                weights, x, count: count, using: scratch.activations, on: compute
            ) { _ in z }
            add(delta, nil, to: z, x, count: count, scratch: scratch, on: compute)
            let dc = gradient.pointer
            // Divided by outputs: a thread sums over all tokens, in their order.
            compute.pool.split(O, by: 16) { _, begin, end in
                for row in 0..<count {
                    let (dy, z) = (dy + row * O, z + row * O)
                    for o in begin..<end { dc[o] += dy[o] * z[o] }
                }
            }
        }
        scale(dy, by: c, count: count, into: z, on: compute)
        return UnsafePointer(z)
    }

    private func check(_ delta: LowRankDelta) {
        precondition(
            delta.a.count == delta.rank * weight.columns
                && delta.b.count == delta.rank * weight.rows,
            "factors of \(delta.a.count) and \(delta.b.count) at rank \(delta.rank) over \(weight.rows) × \(weight.columns)"
        )
    }
}

/// Linear layers that read the same input, as one product: queries, keys and values; gate and up.
package struct LinearGroup: Sendable {
    private let linears: [Linear]
    private let weights: [LinearWeight]

    /// The width of the input.
    package var columns: Int { weights[0].columns }

    /// Groups `linears`.
    package init(_ linears: [Linear]) {
        self.linears = linears
        weights = linears.map(\.weight)
    }

    /// Each layer's forward pass.
    ///
    /// - x: [count, in]
    /// - delta: the i-th layer's term.
    /// - dropout: the i-th layer's.
    /// - output: the i-th layer's result [count, out].
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, delta: (Int) -> LowRankDelta?,
        dropout: (Int) -> Dropout?, into output: (Int) -> UnsafeMutablePointer<Float>,
        scratch: LinearScratch, on compute: Compute
    ) {
        LinearWeight.multiply(
            weights, x, count: count, using: scratch.activations, on: compute, into: output)
        for (i, linear) in linears.enumerated() {
            let y = output(i)
            if let delta = delta(i) {
                linear.add(
                    delta, dropout(i), to: y, x, count: count, scratch: scratch, on: compute)
                if let c = delta.outputScale {
                    linear.scale(y, by: c, count: count, into: y, on: compute)
                }
            }
            linear.addBias(to: y, count: count, on: compute)
        }
    }
}

extension LinearGroup {
    /// Each layer's product with low-rank terms of some rows.
    ///
    /// - x: [count, in]
    /// - terms: the i-th layer's are for weight i.
    /// - output: the i-th layer's result [count, out].
    package func forward(
        _ x: UnsafePointer<Float>, count: Int, terms: LowRankProduct,
        into output: (Int) -> UnsafeMutablePointer<Float>, scratch: LinearScratch,
        on compute: Compute
    ) {
        LinearWeight.multiply(
            weights, x, count: count, terms: terms, using: scratch.activations, on: compute,
            into: output)
        for (i, linear) in linears.enumerated() {
            linear.addBias(to: output(i), count: count, on: compute)
        }
    }
}

/// What linear layers work with: inputs in integers, what lies between A and B, U = X Aᵀ and V = dZ B,
/// [tokens, rank] each, and the result that output scales multiply.
package final class LinearScratch {
    /// Inputs, or gradients of outputs, in integers.
    let activations: Activations
    /// The terms of a product, where rows have adapters of their own.
    let terms = LowRankProduct()
    private let tokens: Int
    private var rank = 0
    fileprivate var u = Buffer<Float>(0)
    fileprivate var v = Buffer<Float>(0)
    // dB's transpose [rank, out], in parts of the threads'
    fileprivate var gradient = Buffer<Float>(0)
    // Z, then dZ [tokens, out]
    fileprivate var product = Buffer<Float>(0)
    // The input under dropout [tokens, in]; none without.
    fileprivate var masked = Buffer<Float>(0)

    /// Creates scratch for batches of up to `tokens` rows.
    package init(tokens: Int, on compute: Compute) {
        self.tokens = tokens
        activations = Activations(on: compute)
    }

    /// Bytes for terms of so many outputs at most, less the inputs in integers.
    ///
    /// - inputs: the widest input, where some of it is dropped; 0 without dropout.
    /// - scaledOutputs: the widest output that is multiplied; 0 where none is.
    package static func memory(
        tokens: Int, rank: Int, outputs: Int, inputs: Int = 0, scaledOutputs: Int = 0
    ) -> Int {
        2 * Buffer<Float>.memory(tokens * rank) + Buffer<Float>.memory(rank * outputs)
            + (inputs > 0 ? Buffer<Float>.memory(tokens * inputs) : 0)
            + (scaledOutputs > 0 ? Buffer<Float>.memory(tokens * scaledOutputs) : 0)
    }

    /// Makes room for the term `delta`, and its input where it `drops` some; allocates only when a larger
    /// one than before comes.
    package func reserve(_ delta: LowRankDelta, drops: Bool = false) {
        let masks = drops ? tokens * (delta.a.count / delta.rank) : 0
        if masks > masked.count { masked = Buffer(uninitialized: masks) }
        if delta.b.count > gradient.count { gradient = Buffer(delta.b.count) }
        if let c = delta.outputScale, tokens * c.count > product.count {
            product = Buffer(uninitialized: tokens * c.count)
        }
        guard delta.rank > rank else { return }
        rank = delta.rank
        u = Buffer(tokens * rank)
        v = Buffer(tokens * rank)
    }
}
