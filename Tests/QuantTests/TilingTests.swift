import LorikeetQuant
import QuantKernels
import Synchronization
import Testing

struct TilingTests {
    @Test(arguments: [1, 2, 5])
    func `matrices that are tiled together are as each alone`(threads: Int) {
        let compute = Compute(threads: threads)
        let matrices = [(16, 64), (40, 128), (3, 64), (2100, 576)].map { rows, columns in
            let weights = Buffer<Float>((0..<rows * columns).map { Float(($0 * 37) % 101) - 50 })
            return WeightMatrix(floats: weights, rows: rows, columns: columns)
        }
        let tiling = Tiling(on: compute)
        let done = Mutex([[Range<Int>]](repeating: [], count: matrices.count))
        let together = matrices.enumerated().map { index, matrix in
            LinearWeight(matrix, roundsFloats: true, in: tiling) { rows in
                done.withLock { $0[index].append(rows) }
            }
        }
        tiling.finish()
        for (index, matrix) in matrices.enumerated() {
            let alone = LinearWeight(matrix, roundsFloats: true, on: compute)
            #expect(bytes(together[index]) == bytes(alone))
            // Each row is done with once.
            let rows = done.withLock { $0[index] }.flatMap(\.self).sorted()
            #expect(rows == Array(0..<matrix.rows))
        }
    }

    private func bytes(_ weight: LinearWeight) -> [UInt8]? {
        guard case .tiled(let matrix) = weight else { return nil }
        // 8 bits: a tile is 1024 codes and 16 scales of two bytes.
        let (raw, scales) = (matrix.raw, matrix.memory / (1024 + 32) * 16)
        return Array(UnsafeBufferPointer(start: raw.codes, count: scales * 64))
            + UnsafeRawBufferPointer(UnsafeBufferPointer(start: raw.scales, count: scales))
    }
}
