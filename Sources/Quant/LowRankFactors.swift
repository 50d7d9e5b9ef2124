public import QuantKernels

/// The factors of a linear layer's low-rank term, y = c ⊙ (W x + s B (A x)), packed for products.
///
/// `quant_low_rank` says how they lie. They are halves, or floats where the precision is fp32.
public final class LowRankFactors: @unchecked Sendable {
    // Unchecked: nothing writes to the memory once it is made.

    /// The kernels' view of them.
    public let raw: quant_low_rank
    /// c, what the layer's outputs are multiplied by [out]; nil for ones.
    public let outputScale: Buffer<Float>?
    /// Bytes that a product reads.
    public let memory: Int
    private let owners: [AnyObject]

    /// Packs the factors on the calling thread alone, so that others may compute meanwhile.
    ///
    /// - Parameters:
    ///   - a: A [rank, in]
    ///   - b: B [out, rank]
    ///   - rank: of both.
    ///   - scale: s
    ///   - outputScale: c [out], or nil for ones.
    ///   - compute: whose precision and kernels.
    public convenience init(
        a: Buffer<Float>, b: Buffer<Float>, rank: Int, scale: Float,
        outputScale: Buffer<Float>? = nil, on compute: Compute
    ) {
        let bytes = Self.bytes(
            rank: rank, inputs: a.count / rank, outputs: b.count / rank,
            precision: compute.precision)
        self.init(
            a: a, b: b, rank: rank, scale: scale, outputScale: outputScale,
            in: TileMemory(pieceBytes: bytes), on: compute)
    }

    /// The same in memory that an adapter's terms share.
    package init(
        a: Buffer<Float>, b: Buffer<Float>, rank: Int, scale: Float,
        outputScale: Buffer<Float>?, in memory: TileMemory, on compute: Compute
    ) {
        precondition(rank > 0 && a.count % rank == 0 && b.count % rank == 0, "rank \(rank)")
        let (inputs, outputs) = (a.count / rank, b.count / rank)
        precondition(
            outputScale.map { $0.count == outputs } ?? true,
            "\(outputScale?.count ?? 0) output scales of \(outputs) outputs")
        let rows = Packed(Self.padded(a, rank: rank, inputs: inputs), in: memory, on: compute)
        let panels = Packed(Self.panels(b, rank: rank, outputs: outputs), in: memory, on: compute)
        self.outputScale = outputScale
        let scales = (outputScale?.count ?? 0) * MemoryLayout<Float>.stride
        self.memory =
            Self.bytes(rank: rank, inputs: inputs, outputs: outputs, precision: compute.precision)
            + scales
        owners = [rows.owner, panels.owner]
        let exponent = -rows.exponent - panels.exponent
        raw = quant_low_rank(
            a: rows.start, b: panels.start, halves: compute.precision == .fp32 ? 0 : 1, rank: rank,
            inputs: inputs, outputs: outputs,
            scale: scale * Float(sign: .plus, exponent: exponent, significand: 1))
    }

    /// The memory of A.
    var a: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: raw.a, count: raw.rank * quant_low_rank_stride(raw.inputs) * raw.elementSize)
    }

    /// Bytes of both factors, packed.
    package static func bytes(
        rank: Int, inputs: Int, outputs: Int, precision: Precision
    ) -> Int {
        let size = precision == .fp32 ? MemoryLayout<Float>.stride : MemoryLayout<UInt16>.stride
        return [quant_low_rank_stride(inputs), panelCount(outputs) * Int(QUANT_LOW_RANK_PANEL)]
            .reduce(0) { $0 + TileMemory.rounded(rank * $1 * size) }
    }

    private static func panelCount(_ outputs: Int) -> Int {
        let width = Int(QUANT_LOW_RANK_PANEL)
        return (outputs + width - 1) / width
    }

    // Rows padded with zeros.
    private static func padded(_ a: Buffer<Float>, rank: Int, inputs: Int) -> Buffer<Float> {
        let stride = quant_low_rank_stride(inputs)
        let rows = Buffer<Float>(rank * stride)
        for r in 0..<rank {
            (rows.pointer + r * stride).update(from: a.pointer + r * inputs, count: inputs)
        }
        return rows
    }

    // Panels of outputs, the last padded with zeros.
    private static func panels(_ b: Buffer<Float>, rank: Int, outputs: Int) -> Buffer<Float> {
        let width = Int(QUANT_LOW_RANK_PANEL)
        let panels = Buffer<Float>(panelCount(outputs) * width * rank)
        for o in 0..<outputs {
            let row = b.pointer + o * rank
            let column = panels.pointer + o / width * width * rank + o % width
            for r in 0..<rank { column[r * width] = row[r] }
        }
        return panels
    }
}

extension quant_low_rank {
    /// Bytes of a factor's element.
    var elementSize: Int {
        halves != 0 ? MemoryLayout<UInt16>.stride : MemoryLayout<Float>.stride
    }
}

/// A factor times 2^exponent, as the precision wants it.
private struct Packed {
    let start: UnsafeRawPointer
    let owner: AnyObject
    let exponent: Int

    /// `floats`, which may change, or halves of them.
    ///
    /// The largest element's half is brought to 2¹⁴ ..< 2¹⁵: what is 2⁻²⁸ of it has all its digits still.
    init(_ floats: Buffer<Float>, in memory: TileMemory, on compute: Compute) {
        guard compute.precision != .fp32 else {
            let copy = memory.allocate(floats.count, of: Float.self)
            copy.0.update(from: floats.pointer, count: floats.count)
            (start, owner, exponent) = (UnsafeRawPointer(copy.0), copy.owner, 0)
            return
        }
        let largest = floats.elements.reduce(0) { max($0, abs($1)) }
        // Bounded, so that its power and that of two factors are floats.
        exponent = largest.isNormal ? min(max(14 - Int(largest.exponent), -60), 60) : 0
        compute.kernels.scale(
            Float(sign: .plus, exponent: exponent, significand: 1), floats.count, floats.pointer)
        let halves = memory.allocate(floats.count, of: UInt16.self)
        compute.kernels.saturated_f16_from_f32(floats.pointer, floats.count, halves.0)
        (start, owner) = (UnsafeRawPointer(halves.0), halves.owner)
    }
}
