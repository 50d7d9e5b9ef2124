import LorikeetQuant
import TestSupport
import Testing

@Suite struct MemoryFormulaTests {
    @Test(arguments: [0, 1, 1000, 32_767, 32_768, 32_769, 700_001])
    func `a buffer takes its elements, and whole pages from 128 kB on`(count: Int) {
        let (buffer, bytes, _) = AllocationMeter.measure { Buffer<Float>(count) }
        #expect(bytes == Buffer<Float>.memory(count))
        #expect(bytes >= 4 * buffer.count && bytes < 4 * buffer.count + 4096)
        #expect(count >= 32_768 || bytes == 4 * count)
    }

    @Test func `what is gone again is not counted`() {
        let (_, bytes, peak) = AllocationMeter.measure {
            (0..<3).reduce(0) { $0 + withExtendedLifetime(Buffer<Float>(100 * $1)) { $0.count } }
        }
        #expect(bytes == 0 && peak == 800)
    }

    @Test(arguments: [(16, 64), (17, 128), (3, 192), (40, 96), (100, 640)])
    func `a weight takes what its layout says, in either form`(rows: Int, columns: Int) {
        let floats = Buffer<Float>(rows * columns)
        for precision in [Precision.fp32, .int16] {
            let compute = Compute(threads: 1, precision: precision)
            let quantized = QuantizedTensor(
                quantizing: UnsafeBufferPointer(floats.elements), shape: [rows, columns],
                on: compute)
            let (packed, nested) = (quantized.packed, quantized.absmax)
            guard case .nested(let scales) = nested else { continue }
            let matrices = [
                (
                    WeightMatrix(floats: floats, rows: rows, columns: columns),
                    WeightLayout.Storage.floats(bytes: 4)
                ),
                (
                    WeightMatrix(
                        packed: packed.pointer, absmax: scales.decoded(),
                        codebook: QuantizationFormat.nf4.codebook, blockSize: 64, rows: rows,
                        columns: columns, owner: packed), .fourBit(blockSize: 64)
                ),
            ]
            for (matrix, storage) in matrices {
                let layout = WeightLayout(rows: rows, columns: columns, storage: storage)
                for roundsFloats in [false, true] {
                    let weight = LinearWeight(matrix, roundsFloats: roundsFloats, on: compute)
                    #expect(
                        weight.memory
                            == LinearWeight.memory(
                                layout, roundsFloats: roundsFloats, precision: precision))
                }
            }
        }
    }
}
