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

    /// How the difference of two steps shrinks when the rate is halved: 2 where they differ in the first
    /// order, 4 where they agree in it.
    private func order(
        _ first: (Double) throws -> Matrix, _ second: (Double) throws -> Matrix
    ) rethrows
        -> Double
    {
        let rate = 1e-5
        return try (first(rate) - second(rate)).norm / (first(rate / 2) - second(rate / 2)).norm
    }

    @Test func `a RefLoRA step depends on the product alone, to first order`() throws {
        let (otherA, otherB) = (q.transposed * a, b * q.inverse.transposed)
        #expect((otherB * otherA).relativeError(to: b * a) < 1e-10)
        let order = try order(
            { try preconditionedStep(a, b, rate: $0) },
            { try preconditionedStep(otherA, otherB, rate: $0) })
        // The second order term is rate² · dB dA, the same in exact arithmetic: what differs is rounding,
        // or the second order.
        let difference = try preconditionedStep(a, b, rate: 1e-5).relativeError(
            to: preconditionedStep(otherA, otherB, rate: 1e-5))
        #expect(difference < 1e-8 || order > 3.9)
    }

    @Test func `a plain LoRA step depends on the factors`() {
        let (otherA, otherB) = (q.transposed * a, b * q.inverse.transposed)
        let order = order(
            { plainStep(a, b, rate: $0) }, { plainStep(otherA, otherB, rate: $0) })
        #expect(order < 2.1)
        let difference = plainStep(a, b, rate: 1e-5).relativeError(
            to: plainStep(otherA, otherB, rate: 1e-5))
        #expect(difference > 1e-5)
    }

    @Test func `refactoring the factors and preconditioning the gradients are one step`() throws {
        // Pᵀ(A − η S⁻¹… ) : B (P P⁻¹) A cancels exactly, in the second order too.
        let refactored = try refactoredStep(a, b, rate: 1e-3)
        let preconditioned = try preconditionedStep(a, b, rate: 1e-3)
        #expect(refactored.relativeError(to: preconditioned) < 1e-12)
    }
}
