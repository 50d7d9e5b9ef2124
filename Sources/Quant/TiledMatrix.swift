public import QuantKernels

/// A frozen matrix [rows, columns] rearranged for integer products: `quant_tiles` says how.
///
/// Made once from weights as they are stored; columns must be a multiple of 64, and a scale must not be
/// shared by parts of two rows.
public struct TiledMatrix: @unchecked Sendable {
    // Unchecked: nothing writes to the memory once its tiling is finished.

    /// The kernels' view of it.
    public let raw: quant_tiles
    private let owners: [AnyObject]

    /// Output features.
    public var rows: Int { raw.rows }
    /// Input features.
    public var columns: Int { raw.columns }
    /// Bytes of codes and scales.
    public let memory: Int

    /// Whether `matrix` can be tiled.
    public static func fits(_ matrix: WeightMatrix) -> Bool { fits(matrix.layout) }

    /// Whether a matrix of this layout can be tiled.
    static func fits(_ matrix: WeightLayout) -> Bool {
        guard matrix.columns % Int(QUANT_TILE_COLUMNS) == 0 else { return false }
        guard case .fourBit(let blockSize) = matrix.storage else { return true }
        return blockSize >= Int(QUANT_TILE_COLUMNS)
    }

    /// Bytes of the codes of a matrix of this layout, and how many scales go with them.
    private static func sizes(_ matrix: WeightLayout) -> (codeBytes: Int, scaleCount: Int) {
        let tileRows = (matrix.rows + Int(QUANT_TILE_ROWS) - 1) / Int(QUANT_TILE_ROWS)
        let tileCount = tileRows * matrix.columns / Int(QUANT_TILE_COLUMNS)
        let weightsPerTile = Int(QUANT_TILE_ROWS * QUANT_TILE_COLUMNS)
        return (tileCount * weightsPerTile * bits(matrix) / 8, tileCount * Int(QUANT_TILE_ROWS))
    }

    private static func bits(_ matrix: WeightLayout) -> Int { matrix.isQuantized ? 4 : 8 }

    /// Bytes of codes and scales that a matrix of this layout becomes.
    static func memory(_ matrix: WeightLayout) -> Int {
        let (codeBytes, scaleCount) = sizes(matrix)
        return codeBytes + scaleCount * MemoryLayout<UInt16>.stride
    }

    /// Rearranges 4-bit weights; quantizes others to 8 bits, a scale to every 64 columns of a row.
    ///
    /// - Parameters:
    ///   - matrix: the weights.
    ///   - tiling: what makes the tiles; they are there when it has finished.
    ///   - done: called with rows of `matrix` that are not needed any more, by any thread.
    public init(
        _ matrix: WeightMatrix, in tiling: Tiling,
        done: @escaping (_ rows: Range<Int>) -> Void = { _ in }
    ) {
        precondition(Self.fits(matrix), "\(matrix.rows) × \(matrix.columns) cannot be tiled")
        let tileRows = (matrix.rows + Int(QUANT_TILE_ROWS) - 1) / Int(QUANT_TILE_ROWS)
        let (codeBytes, scaleCount) = Self.sizes(matrix.layout)
        let codes = tiling.memory.allocate(codeBytes, of: UInt8.self)
        let scales = tiling.memory.allocate(scaleCount, of: UInt16.self)
        owners = [codes.owner, scales.owner]
        memory = Self.memory(matrix.layout)
        // Halves hold scales up to 65504 and lose digits below 6e-5. The largest of those that are known
        // is brought to 2 ..< 4; for 8 bits, weights of 3e-5 to 32,000 are within range.
        let largest = matrix.isQuantized ? matrix.largestAbsmax : 0
        let exponent = largest > 0 && largest.isFinite ? largest.exponent - 1 : -8
        let multiplier = Float(sign: .plus, exponent: exponent, significand: 1)
        var tiles = quant_tiles()
        tiles.bits = Int32(Self.bits(matrix.layout))
        tiles.codes = codes.0
        tiles.scales = scales.0
        tiles.rows = matrix.rows
        tiles.columns = matrix.columns
        if matrix.isQuantized {
            tiles.set(.of(matrix.codebook), multiplier: multiplier)
        } else {
            tiles.multiplier16 = multiplier
            tiles.multiplier8 = multiplier
        }
        raw = tiles
        let kernels = tiling.compute.kernels
        let pack = matrix.isQuantized ? kernels.tile_4bit : kernels.tile_8bit
        let rowsPerTile = Int(QUANT_TILE_ROWS)
        tiling.add(rows: tileRows, weightsPerRow: rowsPerTile * matrix.columns) { [raw] rows in
            var tiles = raw
            withUnsafePointer(to: matrix.raw) {
                pack?($0, 1 / multiplier, rows.lowerBound, rows.upperBound, &tiles)
            }
            done(rowsPerTile * rows.lowerBound..<min(rowsPerTile * rows.upperBound, matrix.rows))
        }
    }
}

/// A codebook's 16 values as integers of either width.
private struct IntegerCodebook {
    let values: [Float]
    let codes16: [Int16]
    let codes8: [Int8]
    /// What a value is multiplied by to become an 8-bit integer.
    let scale8: Float

    private static let known = QuantizationFormat.allCases.map { Self($0.codebook.array) }

    static func of(_ values: [Float]) -> Self {
        known.first { $0.values == values } ?? Self(values)
    }

    private init(_ values: [Float]) {
        func rounded(_ scale: Float) -> [Float] {
            values.map { ($0 * scale).rounded(.toNearestOrEven) }
        }
        func error(_ scale: Float) -> Float {
            zip(values, rounded(scale)).reduce(0) {
                $0 + ($1.1 / scale - $1.0) * ($1.1 / scale - $1.0)
            }
        }
        self.values = values
        codes16 = rounded(Float(QUANT_INT16_LIMIT)).map(Int16.init)
        // Of all scales that keep to 7 bits, the one whose rounding loses least: the values lie unevenly.
        let scales = stride(from: Float(90), through: 127, by: 0.01).map { ($0, error($0)) }
        scale8 = scales.min { $0.1 < $1.1 }?.0 ?? 127
        codes8 = rounded(scale8).map(Int8.init)
    }
}

extension quant_tiles {
    fileprivate mutating func set(_ codebook: IntegerCodebook, multiplier: Float) {
        withUnsafeMutableBytes(of: &codebook16) { $0.copyBytes(from: codebook.codes16.bytes) }
        withUnsafeMutableBytes(of: &codebook8) { $0.copyBytes(from: codebook.codes8.bytes) }
        multiplier16 = multiplier / Float(QUANT_INT16_LIMIT)
        multiplier8 = multiplier / codebook.scale8
    }
}

extension [Int16] {
    fileprivate var bytes: [UInt8] { withUnsafeBytes { [UInt8]($0) } }
}

extension [Int8] {
    fileprivate var bytes: [UInt8] { withUnsafeBytes { [UInt8]($0) } }
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
