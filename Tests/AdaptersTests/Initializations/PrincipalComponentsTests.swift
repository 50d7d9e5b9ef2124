import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// A matrix in the open, for what is otherwise known by its products alone.
private struct Dense: LinearOperator {
    let matrix: Matrix

    var rows: Int { matrix.rows }
    var columns: Int { matrix.columns }

    func multiply(_ x: [Float], count: Int) -> [Float] {
        (Matrix(count, columns, x.map(Double.init)) * matrix.transposed).elements.map(Float.init)
    }

    func multiplyTransposed(_ y: [Float], count: Int) -> [Float] {
        (Matrix(count, rows, y.map(Double.init)) * matrix).elements.map(Float.init)
    }
}

@Suite struct PrincipalComponentsTests {
    /// U diag(σ) V with these singular values.
    private func matrix(_ rows: Int, _ columns: Int, values: [Double]) -> Matrix {
        var generator = SeededGenerator(seed: 7)
        let left = Matrix.orthonormalRows(values.count, rows, &generator)
        let right = Matrix.orthonormalRows(values.count, columns, &generator)
        return left.transposed * Matrix.diagonal(values) * right
    }

    @Test(arguments: [(40, 30), (30, 40), (33, 33)])
    func `singular values and vectors are those the matrix was made of`(
        rows: Int, columns: Int
    ) throws {
        let values = (0..<20).map { 10 / Double(1 + $0) }
        let w = matrix(rows, columns, values: values)
        let found = PrincipalComponents(of: Dense(matrix: w), rank: 5, seed: 1)
        // Products are in fp32: 6e-8, times a few operations.
        for (got, expected) in zip(found.values, values) { #expect(abs(got / expected - 1) < 1e-5) }
        let left = Matrix(5, rows, found.left)
        let right = Matrix(5, columns, found.right)
        #expect((left * left.transposed).relativeError(to: .identity(5)) < 1e-5)
        #expect((right * right.transposed).relativeError(to: .identity(5)) < 1e-5)
        let best = matrix(
            rows, columns, values: values.enumerated().map { $0 < 5 ? $1 : 0 })
        #expect(
            (left.transposed * .diagonal(found.values) * right).relativeError(to: best) < 1e-4)
    }

    @Test func `the best part of noise is found nearly whole`() {
        // A quantization error has a flat spectrum: the hard case. Its best 8 of 96 directions.
        var generator = SeededGenerator(seed: 3)
        let noise = Matrix.random(96, 160, &generator)
        let exact = (noise * noise.transposed).largestEigenvectors(8).values.reduce(0, +)
        let found = PrincipalComponents(of: Dense(matrix: noise), rank: 8, seed: 1)
            .values.reduce(0) { $0 + $1 * $1 }
        // Never more than there is, but for rounding, and little less.
        #expect(found < exact * 1.00001 && found > exact * 0.999, "\(found / exact)")
    }

    @Test func `a matrix of lower rank than asked for has zeros after it`() {
        let w = matrix(20, 16, values: [3, 2])
        let found = PrincipalComponents(of: Dense(matrix: w), rank: 4, seed: 1)
        #expect(abs(found.values[1] - 2) < 1e-5 && found.values[2] < 1e-5)
        let isFinite = (found.left + found.right).allSatisfy(\.isFinite)
        #expect(isFinite)
    }

    @Test func `the whole spectrum of a small matrix, and of none`() {
        let w = matrix(6, 4, values: [4, 3, 2, 1])
        let found = PrincipalComponents(of: Dense(matrix: w), rank: 4, seed: 1)
        for (got, expected) in zip(found.values, [4.0, 3, 2, 1]) {
            #expect(abs(got - expected) < 1e-5)
        }
        let zero = Dense(matrix: Matrix(6, 4, .init(repeating: 0, count: 24)))
        #expect(PrincipalComponents(of: zero, rank: 2, seed: 1).values == [0, 0])
    }
}
