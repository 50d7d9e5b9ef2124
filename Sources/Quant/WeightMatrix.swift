public import QuantKernels

/// A frozen weight matrix [rows, columns] in memory that is mapped or owned elsewhere.
///
/// One type for every way weights are stored, so that a layer does not care whether its base is
/// quantized: the kernels read the packed form directly.
public struct WeightMatrix: @unchecked Sendable {
    // Unchecked: the memory is never written while a matrix refers to it, and `owners` keep it.

    /// The kernels' view of it.
    public let raw: quant_matrix
    private let owners: [AnyObject]

    /// Output features.
    public var rows: Int { raw.rows }
    /// Input features.
    public var columns: Int { raw.columns }
    /// Whether the weights are 4-bit codes.
    public var isQuantized: Bool { raw.type == QUANT_4BIT }

    /// Bytes of the weights, scales included.
    public var memory: Int { layout.memory }

    /// Its size and how it is stored.
    var layout: WeightLayout {
        let storage: WeightLayout.Storage =
            switch raw.type {
            case QUANT_F32: .floats(bytes: 4)
            case QUANT_F16, QUANT_BF16: .floats(bytes: 2)
            default: .fourBit(blockSize: raw.block_size)
            }
        return WeightLayout(rows: rows, columns: columns, storage: storage)
    }

    /// Views row-major floats: `type` is `QUANT_F32`, `QUANT_F16` or `QUANT_BF16`.
    ///
    /// - Parameters:
    ///   - data: rows × columns elements.
    ///   - type: what they are.
    ///   - rows: output features.
    ///   - columns: input features.
    ///   - owner: what keeps `data` alive.
    public init(
        floats data: UnsafeRawPointer, type: quant_type, rows: Int, columns: Int, owner: AnyObject
    ) {
        precondition(type != QUANT_4BIT, "4-bit weights need absmax and a codebook")
        raw = quant_matrix(
            type: type, data: data, absmax: nil, codebook: nil, rows: rows, columns: columns,
            block_size: 64)
        owners = [owner]
    }

    /// Views row-major fp32 weights that it keeps itself.
    public init(floats buffer: Buffer<Float>, rows: Int, columns: Int) {
        precondition(
            buffer.count == rows * columns, "\(buffer.count) floats for \(rows) × \(columns)")
        self.init(
            floats: buffer.pointer, type: QUANT_F32, rows: rows, columns: columns, owner: buffer)
    }

    /// Views packed 4-bit weights.
    ///
    /// - Parameters:
    ///   - packed: two codes a byte, high nibble first, in memory that `owner` keeps alive.
    ///   - absmax: one scale a block, decoded if it was double-quantized.
    ///   - codebook: the format's 16 values.
    ///   - blockSize: weights a scale; a power of two.
    ///   - rows: output features.
    ///   - columns: input features.
    ///   - owner: what keeps `packed` alive.
    public init(
        packed: UnsafeRawPointer, absmax: Buffer<Float>, codebook: Buffer<Float>, blockSize: Int,
        rows: Int, columns: Int, owner: AnyObject
    ) {
        precondition(codebook.count == 16, "a 4-bit codebook has 16 values, not \(codebook.count)")
        precondition(
            blockSize > 0 && blockSize & (blockSize - 1) == 0, "block size \(blockSize)")
        precondition(
            absmax.count == (rows * columns + blockSize - 1) / blockSize,
            "\(absmax.count) scales for \(rows) × \(columns) in blocks of \(blockSize)")
        raw = quant_matrix(
            type: QUANT_4BIT, data: packed, absmax: UnsafePointer(absmax.pointer),
            codebook: UnsafePointer(codebook.pointer), rows: rows, columns: columns,
            block_size: blockSize)
        owners = [owner, absmax, codebook]
    }

    /// Writes row `index` as fp32: `output` has `columns` elements.
    public func row(_ index: Int, into output: UnsafeMutablePointer<Float>, on compute: Compute) {
        precondition(index >= 0 && index < rows, "row \(index) of \(rows)")
        withUnsafePointer(to: raw) {
            compute.kernels.dequantize_f32($0, index * columns, columns, output)
        }
    }
}
