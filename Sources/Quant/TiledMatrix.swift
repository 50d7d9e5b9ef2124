public import QuantKernels

/// A frozen matrix [rows, columns] rearranged for integer products: `quant_tiles` says how.
///
/// Made once from weights as they are stored; columns must be a multiple of 64, and a scale must not be
/// shared by parts of two rows.
public struct TiledMatrix: @unchecked Sendable {
    // Unchecked: nothing writes to the memory after `init`.

    /// The kernels' view of it.
    public let raw: quant_tiles
    private let codes: Buffer<UInt8>
    private let scales: Buffer<UInt16>

    /// Output features.
    public var rows: Int { raw.rows }
    /// Input features.
    public var columns: Int { raw.columns }
    /// Bytes of codes and scales.
    public var memory: Int { codes.count + 2 * scales.count }

    /// Whether `matrix` can be tiled.
    public static func fits(_ matrix: WeightMatrix) -> Bool {
        matrix.columns % Int(QUANT_TILE_COLUMNS) == 0
            && (!matrix.isQuantized || matrix.raw.block_size >= Int(QUANT_TILE_COLUMNS))
    }

    /// Rearranges 4-bit weights; quantizes others to 8 bits, a scale to every 64 columns of a row.
    public init(_ matrix: WeightMatrix, on compute: Compute) {
        precondition(Self.fits(matrix), "\(matrix.rows) × \(matrix.columns) cannot be tiled")
        let bits = matrix.isQuantized ? 4 : 8
        let tileRows = (matrix.rows + Int(QUANT_TILE_ROWS) - 1) / Int(QUANT_TILE_ROWS)
        let tileCount = tileRows * matrix.columns / Int(QUANT_TILE_COLUMNS)
        let weightsPerTile = Int(QUANT_TILE_ROWS * QUANT_TILE_COLUMNS)
        codes = Buffer(uninitialized: tileCount * weightsPerTile * bits / 8)
        scales = Buffer(uninitialized: tileCount * Int(QUANT_TILE_ROWS))
        // Halves hold scales up to 65504 and lose digits below 6e-5. The largest of those that are known
        // is brought to 2 ..< 4; for 8 bits, weights of 3e-5 to 32,000 are within range.
        let largest = matrix.isQuantized ? matrix.largestAbsmax : 0
        let exponent = largest > 0 && largest.isFinite ? largest.exponent - 1 : -8
        let multiplier = Float(sign: .plus, exponent: exponent, significand: 1)
        var tiles = quant_tiles()
        tiles.bits = Int32(bits)
        tiles.codes = codes.pointer
        tiles.scales = scales.pointer
        tiles.rows = matrix.rows
        tiles.columns = matrix.columns
        if matrix.isQuantized {
            tiles.setCodebooks(matrix.codebook, multiplier: multiplier)
        } else {
            tiles.multiplier16 = multiplier
            tiles.multiplier8 = multiplier
        }
        let pack = matrix.isQuantized ? compute.kernels.tile_4bit : compute.kernels.tile_8bit
        compute.pool.split(tileRows) { [tiles] _, begin, end in
            var tiles = tiles
            withUnsafePointer(to: matrix.raw) { pack?($0, 1 / multiplier, begin, end, &tiles) }
        }
        raw = tiles
    }
}

extension quant_tiles {
    /// The 16 values as integers of either width, and what brings them back.
    fileprivate mutating func setCodebooks(_ codebook: [Float], multiplier: Float) {
        let limit16 = Float(QUANT_INT16_LIMIT)
        // Of all scales that keep to 7 bits, the one whose rounding loses least: the values lie unevenly.
        let limit8 = stride(from: Float(90), through: 127, by: 0.01).min {
            Self.roundingError(codebook, scale: $0) < Self.roundingError(codebook, scale: $1)
        }
        let scale8 = limit8 ?? 127
        withUnsafeMutableBytes(of: &codebook16) { bytes in
            let values = bytes.bindMemory(to: Int16.self)
            for (i, value) in codebook.enumerated() {
                values[i] = Int16((value * limit16).rounded(.toNearestOrEven))
            }
        }
        withUnsafeMutableBytes(of: &codebook8) { bytes in
            let values = bytes.bindMemory(to: Int8.self)
            for (i, value) in codebook.enumerated() {
                values[i] = Int8((value * scale8).rounded(.toNearestOrEven))
            }
        }
        multiplier16 = multiplier / limit16
        multiplier8 = multiplier / scale8
    }

    private static func roundingError(_ codebook: [Float], scale: Float) -> Float {
        codebook.reduce(0) { sum, value in
            let error = (value * scale).rounded(.toNearestOrEven) / scale - value
            return sum + error * error
        }
    }
}

extension WeightMatrix {
    /// The largest of the blocks' scales.
    fileprivate var largestAbsmax: Float {
        let count = (rows * columns + raw.block_size - 1) / raw.block_size
        return UnsafeBufferPointer(start: raw.absmax, count: count).max() ?? 0
    }

    fileprivate var codebook: [Float] {
        Array(UnsafeBufferPointer(start: raw.codebook, count: 16))
    }
}
