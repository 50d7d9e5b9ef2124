import QuantKernels

extension LinearWeight {
    /// ‖Wᵢ‖² of every row [rows], of the weights as this form holds them, summed in float64.
    ///
    /// A thread decodes a row, or a tile of 16 rows by 64 columns, at a time: W itself is never there.
    public func squaredRowNorms(on compute: Compute) -> Buffer<Double> {
        let norms = Buffer<Double>(rows)
        switch self {
        case .stored(let matrix):
            compute.pool.split(rows) { thread, begin, end in
                for row in begin..<end {
                    norms[row] = matrix.squaredNorm(
                        ofRow: row, scratch: compute.scratch(thread), on: compute)
                }
            }
        case .tiled(let matrix):
            let tileRows = (rows + Int(QUANT_TILE_ROWS) - 1) / Int(QUANT_TILE_ROWS)
            let squares = matrix.squaresByByte
            compute.pool.split(tileRows) { _, begin, end in
                for tileRow in begin..<end {
                    matrix.addSquares(ofTileRow: tileRow, by: squares, to: norms, on: compute)
                }
            }
        }
        return norms
    }
}

extension WeightMatrix {
    fileprivate func squaredNorm(
        ofRow row: Int, scratch: UnsafeMutablePointer<Float>, on compute: Compute
    ) -> Double {
        let most = Int(QUANT_MATMUL_SCRATCH)
        return stride(from: 0, to: columns, by: most).reduce(0) { sum, first in
            let count = min(most, columns - first)
            withUnsafePointer(to: raw) {
                compute.kernels.dequantize_f32($0, row * columns + first, count, scratch)
            }
            return sum + compute.kernels.sum_of_squares(scratch, count)
        }
    }
}

extension TiledMatrix {
    /// What each byte of codes adds to a sum of squared codes: two 4-bit codes', or an 8-bit one's.
    ///
    /// 64 squares of at most `QUANT_INT16_LIMIT`² are below 2³¹.
    fileprivate var squaresByByte: [UInt32] {
        (0..<256).map { byte in
            guard raw.bits == 4 else {
                let code = Int(Int8(truncatingIfNeeded: byte))
                return UInt32(code * code)
            }
            return withUnsafeBytes(of: raw.codebook16) { codebook in
                let codes = codebook.bindMemory(to: Int16.self)
                let (low, high) = (Int(codes[byte & 15]), Int(codes[byte >> 4]))
                return UInt32(low * low + high * high)
            }
        }
    }

    fileprivate func addSquares(
        ofTileRow tileRow: Int, by squares: [UInt32], to norms: Buffer<Double>, on compute: Compute
    ) {
        let (R, C) = (Int(QUANT_TILE_ROWS), Int(QUANT_TILE_COLUMNS))
        let (tileBytes, tileColumns) = (R * C * Int(raw.bits) / 8, columns / C)
        let first = tileRow * R
        let count = min(R, rows - first)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: R) { scales in
            for tile in tileRow * tileColumns..<(tileRow + 1) * tileColumns {
                compute.kernels.f32_from_f16(raw.scales + tile * R, R, scales.baseAddress)
                // The codes of row j are the j-th 32-bit word of every 64 bytes.
                let codes = raw.codes + tile * tileBytes
                for j in 0..<count {
                    var sum: UInt32 = 0
                    for group in stride(from: 4 * j, to: tileBytes, by: 4 * R) {
                        for byte in group..<group + 4 { sum += squares[Int(codes[byte])] }
                    }
                    let scale = Double(scales[j]) * Double(raw.multiplier16)
                    norms[first + j] += scale * scale * Double(sum)
                }
            }
        }
    }
}
