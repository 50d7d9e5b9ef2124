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
        let (width, stride) = (Int(QUANT_LOW_RANK_PANEL), quant_low_rank_stride(inputs))
        // Rows padded with zeros.
        let rows = Packed(a, pieces: rank, of: stride, in: memory, on: compute) { r, row in
            row.update(from: a.pointer + r * inputs, count: inputs)
        }
        // Panels of outputs, the last padded with zeros.
        let panels = Packed(
            b, pieces: Self.panelCount(outputs), of: rank * width, in: memory, on: compute
        ) { p, panel in
            let first = b.pointer + p * width * rank
            let count = min(width, outputs - p * width)
            for r in 0..<rank {
                let column = panel + r * width
                var element = first + r
                for o in 0..<count {
                    column[o] = element.pointee
                    element += rank
                }
            }
        }
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

    /// Pieces of the factor as floats, or as halves of them.
    ///
    /// The largest element's half is brought to 2¹⁴ ..< 2¹⁵: what is 2⁻²⁸ of it has all its digits still.
    ///
    /// - factor: all elements, in any order.
    /// - fill: writes a piece's elements; what it leaves out is zero.
    init(
        _ factor: Buffer<Float>, pieces: Int, of count: Int, in memory: TileMemory,
        on compute: Compute, fill: (Int, UnsafeMutablePointer<Float>) -> Void
    ) {
        guard compute.precision != .fp32 else {
            let floats = memory.allocate(pieces * count, of: Float.self)
            floats.0.update(repeating: 0, count: pieces * count)
            for piece in 0..<pieces { fill(piece, floats.0 + piece * count) }
            (start, owner, exponent) = (UnsafeRawPointer(floats.0), floats.owner, 0)
            return
        }
        let largest = factor.largestMagnitude
        // Bounded, so that its power and that of two factors are floats.
        exponent = largest.isNormal ? min(max(14 - Int(largest.exponent), -60), 60) : 0
        let power = Float(sign: .plus, exponent: exponent, significand: 1)
        let halves = memory.allocate(pieces * count, of: UInt16.self)
        // A piece is turned into halves while it is in the first-level cache. Its last elements stay zeros:
        // only the last piece has fewer than the others.
        let floats = Buffer<Float>(count)
        for piece in 0..<pieces {
            if piece == pieces - 1 { floats.elements.update(repeating: 0) }
            fill(piece, floats.pointer)
            compute.kernels.scale(power, count, floats.pointer)
            compute.kernels.saturated_f16_from_f32(
                floats.pointer, count, halves.0 + piece * count)
        }
        (start, owner) = (UnsafeRawPointer(halves.0), halves.owner)
    }
}

extension Buffer<Float> {
    /// The largest |x|; NaN or infinity where one is not finite.
    package var largestMagnitude: Float {
        // As bits they are in the same order, and a maximum of integers is made of vectors.
        Float(bitPattern: elements.reduce(0) { max($0, $1.bitPattern & 0x7FFF_FFFF) })
    }
}
