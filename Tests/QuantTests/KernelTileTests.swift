import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// The products of integers: the same bits on every instruction set, and close to what they stand
/// for.
struct KernelTileTests {
    static let others = Array(InstructionSet.supported.dropFirst())
    static let forms = [4, 8]
    static let precisions = [QUANT_INT16, QUANT_INT8]

    private let scalar = InstructionSet.supported[0].kernels

    // Scales are stored as halves: times this they are far from the subnormal ones.
    private static let unit: Float = 20

    /// A matrix and its tiles.
    private struct Tiles {
        let matrix: WeightMatrix
        let codes: Buffer<UInt8>
        let scales: Buffer<UInt16>
        let raw: quant_tiles

        init(rows: Int, columns: Int, bits: Int, by kernels: quant_kernels) {
            let storage =
                bits == 4
                ? KernelProductTests.Storage(
                    type: QUANT_4BIT, blockSize: columns % 128 == 0 ? 128 : 64)
                : KernelProductTests.Storage(type: QUANT_F32)
            matrix = storage.matrix(rows: rows, columns: columns)
            let tileRows = (rows + 15) / 16
            codes = Buffer(tileRows * 16 * columns * bits / 8)
            scales = Buffer(tileRows * 16 * columns / 64)

            var tiles = quant_tiles()
            tiles.bits = Int32(bits)
            tiles.codes = codes.pointer
            tiles.scales = scales.pointer
            tiles.rows = rows
            tiles.columns = columns
            let unit = KernelTileTests.unit
            let limit = Float(QUANT_INT16_LIMIT)
            tiles.multiplier16 = 1 / unit / (bits == 4 ? limit : 1)
            tiles.multiplier8 = 1 / unit / (bits == 4 ? 127 : 1)
            let values = QuantizationFormat.nf4.codebook.array
            withUnsafeMutableBytes(of: &tiles.codebook16) {
                let codebook = $0.bindMemory(to: Int16.self)
                for i in 0..<16 { codebook[i] = Int16((values[i] * limit).rounded()) }
            }
            withUnsafeMutableBytes(of: &tiles.codebook8) {
                let codebook = $0.bindMemory(to: Int8.self)
                for i in 0..<16 { codebook[i] = Int8((values[i] * 127).rounded()) }
            }
            withUnsafePointer(to: matrix.raw) {
                if bits == 4 {
                    kernels.tile_4bit($0, unit, 0, tileRows, &tiles)
                } else {
                    kernels.tile_8bit($0, unit, 0, tileRows, &tiles)
                }
            }
            raw = tiles
        }
    }

    /// X [rows, columns], prepared.
    private struct Prepared {
        let values: Buffer<Int16>
        let scales: Buffer<Float>
        let sums: Buffer<Int32>
        var raw: quant_activations

        init(
            _ x: Buffer<Float>, rows: Int, columns: Int, precision: quant_precision,
            by kernels: quant_kernels
        ) {
            let groups = (rows + Int(QUANT_GROUP) - 1) / Int(QUANT_GROUP)
            let blocks = groups * Int(QUANT_GROUP) * ((columns + 63) / 64)
            values = Buffer(blocks * 64)
            scales = Buffer(blocks)
            sums = Buffer(blocks)
            raw = quant_activations(
                precision: precision, rows: rows, columns: columns, values: values.pointer,
                scales: scales.pointer, sums: sums.pointer)
            kernels.prepare(x.pointer, columns, 0, groups, &raw)
        }
    }

    /// Y (+)= X Wᵀ, the rows of W in two ranges.
    private func forward(
        _ w: Tiles, _ x: Buffer<Float>, count: Int, precision: quant_precision,
        onto before: Buffer<Float>?, by kernels: quant_kernels
    ) -> Buffer<Float> {
        let rows = w.raw.rows
        let y = before.map { Buffer($0.array) } ?? Buffer<Float>(count * rows)
        let prepared = Prepared(
            x, rows: count, columns: w.raw.columns, precision: precision, by: kernels)
        let middle = rows / 32 * 16
        let scratch = Buffer<Float>(Int(QUANT_TILES_SCRATCH))
        withUnsafePointer(to: w.raw) { w in
            withUnsafePointer(to: prepared.raw) { x in
                for (begin, end) in [(0, middle), (middle, rows)] where begin < end {
                    kernels.matmul_tiles(
                        w, x, begin, end, y.pointer, rows, before == nil ? 0 : 1, scratch.pointer)
                }
            }
        }
        return y
    }

    /// dX (+)= dY W, the columns of W in two ranges.
    private func backward(
        _ w: Tiles, _ dy: Buffer<Float>, count: Int, onto before: Buffer<Float>?,
        by kernels: quant_kernels
    ) -> Buffer<Float> {
        let columns = w.raw.columns
        let dx = before.map { Buffer($0.array) } ?? Buffer<Float>(count * columns)
        let prepared = Prepared(
            dy, rows: count, columns: w.raw.rows, precision: QUANT_INT16, by: kernels)
        let scratch = Buffer<Float>(Int(QUANT_TILES_SCRATCH))
        withUnsafePointer(to: w.raw) { w in
            withUnsafePointer(to: prepared.raw) { dy in
                for (begin, end) in [(0, 64), (64, columns)] where begin < end {
                    kernels.matmul_tiles_backward(
                        w, dy, begin, end, dx.pointer, columns, before == nil ? 0 : 1,
                        scratch.pointer)
                }
            }
        }
        return dx
    }

    /// Rows of W around a tile and a chunk of the backward product, rows of X around the groups and
    /// heights of every instruction set; the large with the small, for the scalar set is slow.
    private static func counts(rows: Int, columns: Int) -> [Int] {
        [1, 2, 3, 5, 8, 13, 24, 25, 60].filter { $0 < 24 || rows * columns <= 48 * 128 }
    }

    @Test(arguments: others, forms)
    func `products of integers are exact`(instructionSet: InstructionSet, form: Int) {
        let kernels = instructionSet.kernels
        for rows in [1, 15, 16, 17, 48, 80, 200] {
            for columns in [64, 128, 576] {
                let expected = Tiles(rows: rows, columns: columns, bits: form, by: scalar)
                let tiles = Tiles(rows: rows, columns: columns, bits: form, by: kernels)
                #expect(tiles.codes.array == expected.codes.array, "\(rows) × \(columns)")
                #expect(tiles.scales.array == expected.scales.array, "\(rows) × \(columns)")
                for M in Self.counts(rows: rows, columns: columns) {
                    let x = noise(M * columns, seed: 1)
                    let dy = noise(M * rows, seed: 2)
                    // A block of zeros, whose scale has no reciprocal.
                    if M > 1 { for k in 0..<64 { x[columns + k] = 0 } }
                    for accumulate in M < 3 ? [false, true] : [M % 2 == 0] {
                        func y(
                            _ w: Tiles, _ precision: quant_precision, _ kernels: quant_kernels
                        )
                            -> [UInt32]
                        {
                            let before = accumulate ? dy : nil
                            return forward(
                                w, x, count: M, precision: precision, onto: before, by: kernels
                            ).array.map(\.bitPattern)
                        }
                        func dx(_ w: Tiles, _ kernels: quant_kernels) -> [UInt32] {
                            let before = accumulate ? x : nil
                            return backward(w, dy, count: M, onto: before, by: kernels)
                                .array.map(\.bitPattern)
                        }
                        for precision in Self.precisions {
                            #expect(
                                y(tiles, precision, kernels) == y(expected, precision, scalar),
                                "\(rows) × \(columns), M = \(M), \(precision)")
                        }
                        #expect(
                            dx(tiles, kernels) == dx(expected, scalar),
                            "backward, \(rows) × \(columns), M = \(M)")
                    }
                }
            }
        }
    }

    /// The largest magnitude of each 64 elements of a row.
    private func largest(_ row: some Collection<Float>) -> [Double] {
        stride(from: 0, to: row.count, by: 64).map { begin in
            row.dropFirst(begin).prefix(64).reduce(0) { max($0, Double(abs($1))) }
        }
    }

    // An integer is within half a unit of what it stands for: of the block's largest activation over
    // the limit, and of its largest weight over the largest code; a weight's scale is rounded to a
    // half besides (2⁻¹¹ of the weight). Backward, a chunk's weights are brought to its largest
    // scale, which rounds the product (half a unit) and the ratio (half of 2⁻¹⁵, less than a tenth
    // of a unit). The sums of integers are exact; fp32's roundings, a few for each block, are below
    // 2⁻²⁰ of the products.
    @Test(arguments: forms, precisions)
    func `products of integers are close to those of numbers`(
        form: Int, precision: quant_precision
    ) {
        let (rows, columns, M) = (80, 192, 3)
        let tiles = Tiles(rows: rows, columns: columns, bits: form, by: scalar)
        let weights = tiles.matrix.dequantizedFloat32(
            on: Compute(threads: 1, instructionSet: .supported[0])
        ).array
        let x = noise(M * columns, seed: 1).array
        let dy = noise(M * rows, seed: 2).array
        let unit16 = 0.5 / Double(QUANT_INT16_LIMIT)
        let limit = precision == QUANT_INT16 ? unit16 : 0.5 / 127
        let codeLimit = form == 4 && precision == QUANT_INT16 ? unit16 : 0.5 / 127
        let tops = (0..<rows).map { largest(weights[$0 * columns..<($0 + 1) * columns]) }

        let y = forward(
            tiles, Buffer(x), count: M, precision: precision, onto: nil, by: scalar)
        for m in 0..<M {
            let row = x[m * columns..<(m + 1) * columns]
            let top = largest(row)
            for r in 0..<rows {
                var sum = 0.0
                var bound = 0.0
                for k in 0..<columns {
                    let weight = Double(weights[r * columns + k])
                    let value = Double(x[m * columns + k])
                    let dWeight = codeLimit * tops[r][k / 64] + 0x1p-11 * abs(weight)
                    let dValue = limit * top[k / 64]
                    sum += weight * value
                    bound += dWeight * (abs(value) + dValue) + abs(weight) * dValue
                    bound += 0x1p-20 * abs(weight * value)
                }
                #expect(abs(Double(y[m * rows + r]) - sum) <= bound)
            }
        }

        guard precision == QUANT_INT16 else { return }
        let dx = backward(tiles, Buffer(dy), count: M, onto: nil, by: scalar)
        for m in 0..<M {
            let top = largest(dy[m * rows..<(m + 1) * rows])
            for k in 0..<columns {
                var sum = 0.0
                var bound = 0.0
                for r in 0..<rows {
                    let weight = Double(weights[r * columns + k])
                    let value = Double(dy[m * rows + r])
                    let chunk = r / 64 * 64..<min(r / 64 * 64 + 64, rows)
                    let highest = chunk.reduce(0.0) { max($0, tops[$1][k / 64]) }
                    // A unit of spread 8-bit codes is 1 / (45 · 127) of the largest weight.
                    let rounding = 0x1p-11 * abs(weight) + 0.6 / 5715 * highest
                    let dWeight = codeLimit * tops[r][k / 64] + rounding
                    let dValue = unit16 * top[r / 64]
                    sum += weight * value
                    bound += dWeight * (abs(value) + dValue) + abs(weight) * dValue
                    bound += 0x1p-20 * abs(weight * value)
                }
                #expect(abs(Double(dx[m * columns + k]) - sum) <= bound)
            }
        }
    }
}
