/// A 4-bit code: 16 values in [-1, 1] that a block's largest magnitude scales.
public enum QuantizationFormat: String, Sendable, CaseIterable {
    /// Quantiles of a normal distribution (Dettmers et al. 2023, "QLoRA", appendix E).
    case nf4
    /// A sign, two bits of exponent and one of fraction, as bitsandbytes encodes them.
    case fp4

    /// The value of each code, in code order.
    ///
    /// FP4's codes are bit patterns, so they do not ascend, and 0 appears twice: codes 0 and 8.
    public var codebook: Buffer<Float> {
        switch self {
        case .nf4: Tables.nf4.codebook
        case .fp4: Tables.fp4.codebook
        }
    }

    /// The 15 boundaries between neighbouring values, ascending.
    ///
    /// A scaled weight lies in interval i when i boundaries are below it, so one that is on a
    /// boundary goes to the smaller value.
    public var midpoints: Buffer<Float> {
        switch self {
        case .nf4: Tables.nf4.midpoints
        case .fp4: Tables.fp4.midpoints
        }
    }

    /// The 16 values, ascending.
    public var ascending: Buffer<Float> {
        switch self {
        case .nf4: Tables.nf4.ascending
        case .fp4: Tables.fp4.ascending
        }
    }

    /// The code of each of the 16 intervals that `midpoints` bound.
    public var order: Buffer<UInt8> {
        switch self {
        case .nf4: Tables.nf4.order
        case .fp4: Tables.fp4.order
        }
    }

    private struct Tables {
        let codebook: Buffer<Float>
        let midpoints: Buffer<Float>
        let ascending: Buffer<Float>
        let order: Buffer<UInt8>

        /// - Parameters:
        ///   - values: the value of each code.
        ///   - order: the codes by ascending value.
        init(_ values: [Float], order: [UInt8]) {
            let ascending = order.map { values[Int($0)] }
            codebook = Buffer(values)
            self.ascending = Buffer(ascending)
            midpoints = Buffer(zip(ascending, ascending.dropFirst()).map { ($0 + $1) / 2 })
            self.order = Buffer(order)
        }

        static let nf4 = Tables(
            [
                -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
                -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
                0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1,
            ], order: Array(0..<16))

        static let fp4 = Tables(
            [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3].map { $0 / 12 },
            order: [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3])
    }
}

/// How a tensor is quantized.
public struct QuantizationConfiguration: Sendable, Equatable {
    /// The block sizes that bitsandbytes knows.
    public static let blockSizes = [64, 128, 256, 512, 1024, 2048, 4096]

    /// The 4-bit code.
    public var format: QuantizationFormat
    /// How many consecutive weights share a scale; one of `blockSizes`.
    public var blockSize: Int
    /// Whether the scales are themselves quantized, to 8 bits.
    public var doubleQuantization: Bool

    /// QLoRA's choice by default: NF4, blocks of 64, double quantization (4.127 bits a weight).
    public init(
        format: QuantizationFormat = .nf4, blockSize: Int = 64, doubleQuantization: Bool = true
    ) {
        precondition(Self.blockSizes.contains(blockSize), "block size \(blockSize)")
        self.format = format
        self.blockSize = blockSize
        self.doubleQuantization = doubleQuantization
    }
}
