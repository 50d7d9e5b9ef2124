public import QuantKernels

/// The factors of a linear layer's low-rank term, y = c ⊙ (W x + s B (A x)), packed for products.
///
/// `quant_low_rank` says how they lie: as floats in fp32, else as bytes with a scale a rank, which are within
/// 0.6 % of trained factors: less than 16-bit products change a perplexity.
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
        // Rows padded with zeros.
        let rows = PackedFactor(
            .ranks(rank, width: quant_low_rank_stride(inputs)), in: memory,
            on: compute
        ) {
            a.largestMagnitudes(ofRows: rank)
        } fill: { r, row in
            row.update(from: a.pointer + r * inputs, count: inputs)
        }
        // Panels of outputs, the last padded with zeros.
        let width = Int(QUANT_LOW_RANK_PANEL)
        let panels = PackedFactor(
            .panels(Self.panelCount(outputs), rank: rank, width: width), in: memory,
            on: compute
        ) {
            b.largestMagnitudes(ofColumns: rank)
        } fill: { p, panel in
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
        let scales = memory.buffer(rows.steps.count, of: Float.self)
        for r in 0..<scales.count { scales[r] = rows.steps[r] * panels.steps[r] }
        self.outputScale = outputScale
        self.memory =
            Self.bytes(rank: rank, inputs: inputs, outputs: outputs, precision: compute.precision)
            + (outputScale?.count ?? 0) * MemoryLayout<Float>.stride
        owners = [rows.owner, panels.owner, scales]
        raw = quant_low_rank(
            a: rows.start, b: panels.start, type: quant_factor_type(compute.precision),
            scales: UnsafePointer(scales.pointer),
            rank: rank, inputs: inputs, outputs: outputs, scale: scale)
    }

    /// The memory of A.
    var a: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: raw.a, count: raw.rank * quant_low_rank_stride(raw.inputs) * raw.type.size)
    }

    /// Bytes of both factors, packed.
    package static func bytes(
        rank: Int, inputs: Int, outputs: Int, precision: Precision
    ) -> Int {
        let type = quant_factor_type(precision)
        let scales = type == QUANT_FACTOR_I8 ? rank * MemoryLayout<Float>.stride : 0
        return [quant_low_rank_stride(inputs), panelCount(outputs) * Int(QUANT_LOW_RANK_PANEL)]
            .reduce(TileMemory.rounded(scales)) {
                $0 + TileMemory.rounded(rank * $1 * type.size)
            }
    }

    private static func panelCount(_ outputs: Int) -> Int {
        let width = Int(QUANT_LOW_RANK_PANEL)
        return (outputs + width - 1) / width
    }
}
