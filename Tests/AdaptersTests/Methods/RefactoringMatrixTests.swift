import Foundation
import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct RefactoringMatrixTests {
    private func residual(_ s: RefactoringMatrix, _ x: Matrix, _ y: Matrix) -> Double {
        let matrix = Matrix(s.rank, s.rank, s.elements)
        return (matrix * x * matrix).relativeError(to: y)
    }

    @Test(arguments: [1, 4, 8, 16, 64], [UInt64(1), 2, 3])
    func `S solves the Riccati equation for random factors`(rank: Int, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let a = Matrix.random(rank, 96, &generator)
        let b = 0.01 * Matrix.random(80, rank, &generator)
        let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: rank)
        // The bound the method asks for; rounding alone gives 1e-15 here, as the factors are well
        // conditioned (rank 64 of 80 rows: cond about 300).
        #expect(residual(s, a * a.transposed, b.transposed * b) < 1e-10)
        let product = Matrix(rank, rank, s.elements) * Matrix(rank, rank, s.inverse)
        #expect(product.relativeError(to: .identity(rank)) < 1e-10)
        #expect(!s.isClamped)
    }

    @Test(arguments: [4, 8, 16, 64], [UInt64(1), 2, 3])
    func `S solves the Riccati equation at condition 1e8`(rank: Int, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        // cond(X) = cond(A)²
        let spectrum = (0..<rank).map { pow(1e-4, Double($0) / Double(rank - 1)) }
        let a =
            Matrix.orthonormalRows(rank, rank, &generator) * Matrix.diagonal(spectrum)
            * Matrix.orthonormalRows(rank, 96, &generator)
        let b = Matrix.random(80, rank, &generator)
        let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: rank)
        // The bound the method asks for: X's own rounding, 1e-16, is amplified by its condition.
        #expect(residual(s, a * a.transposed, b.transposed * b) < 1e-6)
        #expect(!s.isClamped)
    }

    @Test func `S of rank 1 is the quotient of the norms`() throws {
        let s = try RefactoringMatrix(a: [3, 4], b: [0, 10, 0], rank: 1)
        // ‖B‖ / ‖A‖ = 10 / 5; a handful of roundings.
        #expect(abs(s.elements[0] - 2) < 1e-14)
        #expect(abs(s.inverse[0] - 0.5) < 1e-14)
        #expect(abs(s.conditionNumber - 1) < 1e-14)
    }

    @Test(arguments: [1e-30, 1, 1e30])
    func `the factors' size does not matter`(size: Double) throws {
        var generator = SeededGenerator(seed: 5)
        let a = size * Matrix.random(8, 40, &generator)
        let b = 1 / size * Matrix.random(30, 8, &generator)
        let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: 8)
        #expect(residual(s, a * a.transposed, b.transposed * b) < 1e-10)
    }

    @Test func `a direction that a factor lacks gives a bounded S, not NaN`() throws {
        var generator = SeededGenerator(seed: 6)
        let a = Matrix.random(8, 40, &generator)
        let b = Matrix.random(48, 3, &generator) * Matrix.random(3, 8, &generator)
        for (a, b) in [(a, b), (b.transposed, a.transposed), (b.transposed, b)] {
            let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: 8)
            #expect(s.isClamped)
            #expect(s.elements.allSatisfy(\.isFinite) && s.inverse.allSatisfy(\.isFinite))
            // Clamped matrices have condition 1e12, and S its root, times a little for the other factor.
            #expect(s.conditionNumber < 1e8 || a.elements == b.elements)
        }
    }

    @Test func `zero and non-finite factors are refused, each for its reason`() {
        let ones = [Double](repeating: 1, count: 8)
        let zeros = [Double](repeating: 0, count: 8)
        #expect(throws: RefactoringMatrix.Failure.zeroFactor) {
            try RefactoringMatrix(a: ones, b: zeros, rank: 2)
        }
        #expect(throws: RefactoringMatrix.Failure.zeroFactor) {
            try RefactoringMatrix(a: zeros, b: ones, rank: 2)
        }
        for bad in [Double.nan, .infinity, -.infinity] {
            var broken = ones
            broken[3] = bad
            #expect(throws: RefactoringMatrix.Failure.notComputable) {
                try RefactoringMatrix(a: broken, b: ones, rank: 2)
            }
            #expect(throws: RefactoringMatrix.Failure.notComputable) {
                try RefactoringMatrix(a: ones, b: broken, rank: 2)
            }
        }
    }

    @Test(arguments: [1, 4, 8, 16, 64])
    func `refactoring keeps the product and balances the factors`(rank: Int) throws {
        var generator = SeededGenerator(seed: UInt64(rank))
        // fp32 factors, as in training.
        func rounded(_ m: Matrix) -> Matrix {
            Matrix(m.rows, m.columns, m.elements.map { Double(Float($0)) })
        }
        let a = rounded(0.05 * Matrix.random(rank, 96, &generator))
        let b = rounded(0.001 * Matrix.random(80, rank, &generator))
        let refactored = try RefactoredFactors(a: a.elements, b: b.elements, rank: rank)
        let newA = Matrix(rank, 96, refactored.a)
        let newB = Matrix(80, rank, refactored.b)
        #expect((newA * newA.transposed).relativeError(to: newB.transposed * newB) < 1e-10)
        // Each fp32 rounding is 6e-8 relative; the product sums them.
        #expect((rounded(newB) * rounded(newA)).relativeError(to: b * a) < 1e-6)
    }
}
