import LorikeetQuant

/// The linear layers that read a sublayer's input: one for each of its parts, or one whose outputs are all
/// parts side by side (Phi-3's `qkv_proj` and `gate_up_proj`).
struct InputProjections: Sendable {
    /// The layers.
    let linears: [Linear]
    private let group: LinearGroup
    private let product: BlockProduct
    // The parts' widths.
    private let widths: [Int]

    /// Reads the layers of `product`, whose results are parts of these widths.
    init(_ product: BlockProduct, widths: [Int], reader: DecoderReader, layer: Int) throws {
        linears = try reader.linears(layer, product)
        precondition([1, widths.count].contains(linears.count), "\(linears.count) layers")
        group = LinearGroup(linears)
        self.product = product
        self.widths = widths
    }

    /// Whether one layer makes all parts.
    private var isFused: Bool { linears.count < widths.count }

    /// - x: [tokens, hidden]
    /// - part: receives the i-th part [tokens, its width].
    func forward(
        _ x: UnsafePointer<Float>, into part: (Int) -> UnsafeMutablePointer<Float>,
        pass: ForwardContext
    ) {
        guard isFused else { return pass.apply(group, product, to: x, into: part) }
        let joined = pass.scratch.joined.pointer
        pass.apply(group, product, to: x) { _ in joined }
        forEachPiece(pass) { i, row, offset in
            (part(i) + row * widths[i]).update(from: joined + offset, count: widths[i])
        }
    }

    /// Adds the factors' gradients, and writes the gradient of x unless `dx` is nil.
    ///
    /// - part: the gradient of the i-th part [tokens, its width].
    /// - x: the forward pass's input [tokens, hidden].
    /// - dx: [tokens, hidden]
    func backward(
        _ part: (Int) -> UnsafePointer<Float>, x: UnsafePointer<Float>,
        into dx: UnsafeMutablePointer<Float>?, pass: BackwardContext
    ) {
        guard isFused else {
            for (i, linear) in linears.enumerated() {
                pass.apply(linear, product, i, to: part(i), x: x, into: dx, accumulate: i > 0)
            }
            return
        }
        let joined = pass.forward.scratch.joined.pointer
        forEachPiece(pass.forward) { i, row, offset in
            (joined + offset).update(from: part(i) + row * widths[i], count: widths[i])
        }
        pass.apply(linears[0], product, to: joined, x: x, into: dx)
    }

    // Calls `body` with each part of each row, and where it lies among the joined ones.
    private func forEachPiece(
        _ pass: ForwardContext, _ body: (_ part: Int, _ row: Int, _ offset: Int) -> Void
    ) {
        let width = widths.reduce(0, +)
        pass.compute.pool.split(pass.batch.count) { _, begin, end in
            for row in begin..<end {
                var offset = row * width
                for (i, width) in widths.enumerated() {
                    body(i, row, offset)
                    offset += width
                }
            }
        }
    }
}
