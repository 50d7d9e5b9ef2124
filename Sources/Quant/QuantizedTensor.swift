import QuantKernels

/// A tensor in 4 bits a weight, as bitsandbytes lays it out.
///
/// Element i of the flattened tensor is the high nibble of `packed[i / 2]` when i is even and the low
/// one when i is odd; it is `codebook[code] * absmax[i / blockSize]`. Blocks run over the flattened
/// tensor, so they cross rows, and the last may be short.
public struct QuantizedTensor: Sendable {
    /// The scale of each block.
    public enum Absmax: Sendable {
        /// As fp32.
        case plain(Buffer<Float>)
        /// Double-quantized.
        case nested(NestedAbsmax)
    }

    /// The dimensions.
    public let shape: [Int]
    /// How the weights were quantized.
    public let configuration: QuantizationConfiguration
    /// The codes, [ceil(count / 2)].
    public let packed: Buffer<UInt8>
    /// The scales, one a block.
    public let absmax: Absmax

    /// How many weights there are.
    public var count: Int { shape.reduce(1, *) }

    /// Quantizes fp32 weights, bit for bit as bitsandbytes does, whatever the number of threads.
    ///
    /// Infinities and NaN spoil their own block only: its scale is not finite.
    ///
    /// - Parameters:
    ///   - weights: row-major, as many as `shape` holds.
    ///   - shape: the dimensions.
    ///   - configuration: the format.
    ///   - compute: what to run on.
    public init(
        quantizing weights: UnsafeBufferPointer<Float>, shape: [Int],
        configuration: QuantizationConfiguration = QuantizationConfiguration(),
        on compute: Compute
    ) {
        let count = shape.reduce(1, *)
        precondition(weights.count == count, "\(weights.count) weights for \(shape)")
        let blockSize = configuration.blockSize
        let packed = Buffer<UInt8>((count + 1) / 2)
        let absmax = Buffer<Float>((count + blockSize - 1) / blockSize)
        let format = configuration.format
        if let x = weights.baseAddress {
            compute.pool.split(count, by: blockSize) { _, begin, end in
                compute.kernels.quantize(
                    x + begin, end - begin, blockSize, format.midpoints.pointer,
                    format.order.pointer, packed.pointer + begin / 2,
                    absmax.pointer + begin / blockSize)
            }
        }
        self.shape = shape
        self.configuration = configuration
        self.packed = packed
        self.absmax =
            configuration.doubleQuantization
            ? .nested(NestedAbsmax(quantizing: UnsafeBufferPointer(absmax.elements)))
            : .plain(absmax)
    }

    /// The scales that weights are multiplied by, decoded if they are double-quantized.
    public func decodedAbsmax() -> Buffer<Float> {
        switch absmax {
        case .plain(let absmax): absmax
        case .nested(let nested): nested.decoded()
        }
    }

    /// The weights as the kernels read them, over the same memory.
    ///
    /// The first dimension is the rows, the others together the columns.
    public func weightMatrix() -> WeightMatrix {
        let rows = shape.first ?? 1
        return WeightMatrix(
            packed: packed.pointer, absmax: decodedAbsmax(),
            codebook: configuration.format.codebook, blockSize: configuration.blockSize,
            rows: rows, columns: shape.dropFirst().reduce(1, *), owner: packed)
    }

    /// The weights as fp32: one multiplication each.
    public func dequantizedFloat32(on compute: Compute) -> Buffer<Float> {
        weightMatrix().dequantizedFloat32(on: compute)
    }

    /// The weights as bf16: the fp32 ones, rounded to nearest even.
    public func dequantizedBFloat16(on compute: Compute) -> Buffer<UInt16> {
        weightMatrix().dequantizedBFloat16(on: compute)
    }
}

extension WeightMatrix {
    /// All weights as fp32, row-major.
    public func dequantizedFloat32(on compute: Compute) -> Buffer<Float> {
        let output = Buffer<Float>(rows * columns)
        // Cut at even elements: two codes share a byte.
        compute.pool.split(output.count, by: 4096) { _, begin, end in
            withUnsafePointer(to: raw) {
                compute.kernels.dequantize_f32($0, begin, end - begin, output.pointer + begin)
            }
        }
        return output
    }

    /// All weights as bf16 bit patterns, row-major, rounded to nearest even.
    public func dequantizedBFloat16(on compute: Compute) -> Buffer<UInt16> {
        let output = Buffer<UInt16>(rows * columns)
        compute.pool.split(output.count, by: 4096) { _, begin, end in
            withUnsafePointer(to: raw) {
                compute.kernels.dequantize_bf16($0, begin, end - begin, output.pointer + begin)
            }
        }
        return output
    }
}
