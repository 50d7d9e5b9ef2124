import LorikeetAdapters
import LorikeetRuntime
import Testing

/// The paper's point: a step does not depend on how the product is factored.
@Suite struct RefactoringInvarianceTests {
    private let target: Matrix
    private let a: Matrix
    private let b: Matrix
    private let q: Matrix

    init() {
        var generator = SeededGenerator(seed: 11)
        target = Matrix.random(20, 24, &generator)
        a = Matrix.random(4, 24, &generator)
        b = Matrix.random(20, 4, &generator)
        q = Matrix.random(4, 4, &generator)
    }

    /// The gradients of ½ ‖B A − M‖².
    private func gradients(_ a: Matrix, _ b: Matrix) -> (a: Matrix, b: Matrix) {
        let residual = b * a - target
        return (b.transposed * residual, residual * a.transposed)
    }

    private func plainStep(_ a: Matrix, _ b: Matrix, rate: Double) -> Matrix {
        let g = gradients(a, b)
        return (b - rate * g.b) * (a - rate * g.a)
    }

    private func preconditionedStep(_ a: Matrix, _ b: Matrix, rate: Double) throws -> Matrix {
        let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: 4)
        let g = gradients(a, b)
        return (b - rate * (g.b * Matrix(4, 4, s.elements)))
            * (a - rate * (Matrix(4, 4, s.inverse) * g.a))
    }

    private func refactoredStep(_ a: Matrix, _ b: Matrix, rate: Double) throws -> Matrix {
        let f = try RefactoredFactors(a: a.elements, b: b.elements, rank: 4)
        return plainStep(Matrix(4, 24, f.a), Matrix(20, 4, f.b), rate: rate)
    }

    @Test(arguments: [1e-5, 1e-3])
    func `a RefLoRA step depends on the product alone`(rate: Double) throws {
        let (otherA, otherB) = (q.transposed * a, b * q.inverse.transposed)
        #expect((otherB * otherA).relativeError(to: b * a) < 1e-10)
        // First order is the claim; with exact S the second order term, rate² dB dA, agrees too. What is
        // left is rounding, amplified by Q's condition.
        let step = try preconditionedStep(a, b, rate: rate)
        let other = try preconditionedStep(otherA, otherB, rate: rate)
        #expect((step - other).norm < 1e-9 * (step - b * a).norm + 1e-13 * step.norm)
    }

    @Test func `a plain LoRA step depends on the factors`() {
        let (otherA, otherB) = (q.transposed * a, b * q.inverse.transposed)
        func difference(_ rate: Double) -> Double {
            (plainStep(a, b, rate: rate) - plainStep(otherA, otherB, rate: rate)).norm
        }
        // As large as the step itself, and it shrinks with the rate, not with its square.
        #expect(difference(1e-5) > 0.1 * (plainStep(a, b, rate: 1e-5) - b * a).norm)
        #expect(abs(difference(1e-5) / difference(5e-6) - 2) < 0.1)
    }

    @Test func `refactoring the factors and preconditioning the gradients are one step`() throws {
        // P cancels between the new factors, in the second order too.
        let refactored = try refactoredStep(a, b, rate: 1e-3)
        let preconditioned = try preconditionedStep(a, b, rate: 1e-3)
        #expect(refactored.relativeError(to: preconditioned) < 1e-12)
    }
}
