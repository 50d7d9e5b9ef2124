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

        /// Stores scales as `configuration` has it.
        public init(
            storing scales: Buffer<Float>, _ configuration: QuantizationConfiguration,
            on compute: Compute
        ) {
            self =
                configuration.doubleQuantization
                ? .nested(
                    NestedAbsmax(quantizing: UnsafeBufferPointer(scales.elements), on: compute))
                : .plain(scales)
        }

        /// The scales that weights are multiplied by.
        public func decoded() -> Buffer<Float> {
            switch self {
            case .plain(let absmax): absmax
            case .nested(let nested): nested.decoded()
            }
        }
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
        self.init(count, shape, configuration, on: compute, alongside: {}) { begin, _, _ in
            weights.baseAddress.map { $0 + begin }
        }
    }

    /// Quantizes a matrix of floats of any type, as if it were converted to fp32 before.
    ///
    /// It is converted in pieces that stay in the cache.
    ///
    /// - Parameters:
    ///   - weights: the matrix.
    ///   - configuration: the format.
    ///   - compute: what to run on.
    ///   - alongside: called once, by one of the threads, while the others begin.
    public init(
        quantizing weights: WeightMatrix,
        configuration: QuantizationConfiguration = QuantizationConfiguration(),
        on compute: Compute, alongside: () -> Void = {}
    ) {
        precondition(!weights.isQuantized, "4-bit weights are quantized already")
        let count = weights.rows * weights.columns
        let shape = [weights.rows, weights.columns]
        self.init(count, shape, configuration, on: compute, alongside: alongside) {
            begin, count, scratch in
            if weights.raw.type == QUANT_F32 {
                return weights.raw.data.assumingMemoryBound(to: Float.self) + begin
            }
            withUnsafePointer(to: weights.raw) {
                compute.kernels.dequantize_f32($0, begin, count, scratch)
            }
            return UnsafePointer(scratch)
        }
    }

    /// Rounds weights to the values nearest to them with scales that are given: what `absmax` decodes to.
    ///
    /// - Parameters:
    ///   - weights: [rows, columns]
    ///   - shape: the dimensions.
    ///   - absmax: the scales as they are stored, one a block.
    ///   - configuration: the format.
    ///   - compute: what to run on.
    public init(
        rounding weights: UnsafeBufferPointer<Float>, shape: [Int], absmax: Absmax,
        configuration: QuantizationConfiguration, on compute: Compute
    ) {
        let codes = Buffer<UInt8>(uninitialized: weights.count)
        let scales = absmax.decoded()
        let (blockSize, grid) = (configuration.blockSize, NearestCode(configuration.format))
        compute.pool.split(scales.count, by: 64) { _, first, last in
            for block in first..<last {
                let reciprocal = NearestCode.reciprocal(of: scales[block])
                for i in block * blockSize..<min((block + 1) * blockSize, weights.count) {
                    codes[i] = grid.interval(weights[i] * reciprocal)
                }
            }
        }
        self.init(
            intervals: codes, shape: shape, absmax: absmax, configuration: configuration,
            on: compute)
    }

    /// Quantizes weights with the scales of `ScaleSearch` instead of absmax; the codes are chosen for the scales as
    /// they are stored.
    ///
    /// - Parameters:
    ///   - weights: [rows, columns]
    ///   - shape: the dimensions.
    ///   - importance: the mean square of each input channel [columns].
    ///   - configuration: the format.
    ///   - compute: what to run on.
    public init(
        quantizing weights: Buffer<Float>, shape: [Int], importance: Buffer<Float>,
        configuration: QuantizationConfiguration, on compute: Compute
    ) {
        let weights = UnsafeBufferPointer(weights.elements)
        let scales = ScaleSearch(configuration).scales(
            of: weights, importance: UnsafeBufferPointer(importance.elements), on: compute)
        self.init(
            rounding: weights, shape: shape,
            absmax: Absmax(storing: scales, configuration, on: compute),
            configuration: configuration, on: compute)
    }

    /// Packs codes that were chosen elsewhere.
    ///
    /// - intervals: of each weight, the place of its value among the ascending ones.
    package init(
        intervals: Buffer<UInt8>, shape: [Int], absmax: Absmax,
        configuration: QuantizationConfiguration, on compute: Compute
    ) {
        let count = shape.reduce(1, *)
        precondition(intervals.count == count, "\(intervals.count) codes for \(shape)")
        let packed = Buffer<UInt8>(uninitialized: (count + 1) / 2)
        let order = configuration.format.order
        let zero = NearestCode(configuration.format).interval(0)
        compute.pool.split(packed.count, by: 4096) { _, first, last in
            for pair in first..<last {
                let low = 2 * pair + 1 < count ? intervals[2 * pair + 1] : zero
                packed[pair] = order[Int(intervals[2 * pair])] << 4 | order[Int(low)]
            }
        }
        self.shape = shape
        self.configuration = configuration
        self.packed = packed
        self.absmax = absmax
    }

    /// Weights that a thread quantizes at once: whole blocks, 256 KiB of fp32 in its scratch, which
    /// the second-level cache holds.
    private static let pieceCount = 65_536

    // `piece`: `count` weights from `begin` on as fp32, in place or in the scratch.
    private init(
        _ count: Int, _ shape: [Int], _ configuration: QuantizationConfiguration,
        on compute: Compute, alongside: () -> Void,
        piece: (_ begin: Int, _ count: Int, _ scratch: UnsafeMutablePointer<Float>) ->
            UnsafePointer<Float>?
    ) {
        let blockSize = configuration.blockSize
        let packed = Buffer<UInt8>(uninitialized: (count + 1) / 2)
        let absmax = Buffer<Float>(uninitialized: (count + blockSize - 1) / blockSize)
        let format = configuration.format
        let pieces = (count + Self.pieceCount - 1) / Self.pieceCount
        compute.pool.run(pieces: 1 + pieces) { thread, index in
            guard index > 0 else { return alongside() }
            let begin = (index - 1) * Self.pieceCount
            let count = min(Self.pieceCount, count - begin)
            guard let x = piece(begin, count, compute.scratch(thread)) else { return }
            compute.kernels.quantize(
                x, count, blockSize, format.midpoints.pointer, format.order.pointer,
                packed.pointer + begin / 2, absmax.pointer + begin / blockSize)
        }
        self.shape = shape
        self.configuration = configuration
        self.packed = packed
        self.absmax = Absmax(storing: absmax, configuration, on: compute)
    }

    /// The scales that weights are multiplied by, decoded if they are double-quantized.
    public func decodedAbsmax() -> Buffer<Float> { absmax.decoded() }

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
