import LorikeetQuant
import TestSupport
import Testing

/// The norms of a weight's rows in every form that products read.
struct RowNormsTests {
    // Odd columns, where rows share bytes and blocks; more rows than a tile has, and not a multiple.
    @Test(arguments: [(3, 37), (7, 64), (35, 192)], [1, 2])
    func `stored weights give the norms of what they dequantize to`(
        shape: (Int, Int), threads: Int
    ) {
        let compute = Compute(threads: threads, precision: .fp32)
        let floats = WeightMatrix(
            floats: noise(shape.0 * shape.1, seed: 1), rows: shape.0, columns: shape.1)
        let quantized = QuantizedTensor(quantizing: floats, on: compute).weightMatrix()
        for matrix in [floats, quantized] {
            let norms = LinearWeight(matrix, on: compute).squaredRowNorms(on: compute)
            for (norm, exact) in zip(norms.array, squares(matrix, compute)) {
                // Sums of float64 products in another order.
                #expect(abs(norm / exact - 1) < 1e-14)
            }
        }
    }

    @Test(arguments: [(7, 64), (35, 192)], [1, 2])
    func `tiles give the norms of the stored weights within their rounding`(
        shape: (Int, Int), threads: Int
    ) {
        let compute = Compute(threads: threads, precision: .int16)
        let floats = WeightMatrix(
            floats: noise(shape.0 * shape.1, seed: 1), rows: shape.0, columns: shape.1)
        let quantized = QuantizedTensor(quantizing: floats, on: compute).weightMatrix()
        for (matrix, tolerance) in [
            // Scales are halves, 2⁻¹² each at most, and codes 1/5792 of a block's largest: twice that for a square.
            (quantized, 1e-3),
            // Eight bits: an error of 1/254 of a block's largest at most, of either sign.
            (floats, 1e-2),
        ] {
            let weight = LinearWeight(matrix, roundsFloats: true, on: compute)
            let norms = weight.squaredRowNorms(on: compute)
            #expect(norms.count == shape.0)
            for (norm, exact) in zip(norms.array, squares(matrix, compute)) {
                #expect(abs(norm / exact - 1) < tolerance)
            }
        }
    }

    private func squares(_ matrix: WeightMatrix, _ compute: Compute) -> [Double] {
        let values = matrix.dequantizedFloat32(on: compute).array
        return (0..<matrix.rows).map { row in
            values[row * matrix.columns..<(row + 1) * matrix.columns].reduce(0) {
                $0 + Double($1) * Double($1)
            }
        }
    }
}
