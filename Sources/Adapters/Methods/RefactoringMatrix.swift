import LorikeetQuant

/// The S that RefLoRA refactors the factors of one layer by.
///
/// With X = A Aᵀ and Y = Bᵀ B, S is the symmetric positive definite solution of
///
///     S X S = Y,    the geometric mean S = X⁻¹ # Y,
///
/// after which the refactored factors Pᵀ A and B P⁻ᵀ, P Pᵀ = S, have equal Gram matrices.
/// Source: Zhang, Li, Giannakis, "RefLoRA" (NeurIPS 2025), theorem 2, in PEFT's convention.
///
/// It is computed by the scaled Newton iteration for a pair of positive definite matrices,
///
///     M ← (μ M + (μ N)⁻¹) / 2,    N ← (μ N + (μ M)⁻¹) / 2,    μ = (det M · det N)^(-1/2r),
///
/// from M = Y, N = X; M → S and N → S⁻¹ quadratically. Unlike two eigendecompositions it never forms
/// X^½ Y X^½, whose condition is the product of both: at cond(X) = 1e8 it keeps nine digits where
/// those keep one. Source of the iteration: Iannazzo, "The geometric mean of two matrices from a
/// computational viewpoint" (2016), section 2.
public struct RefactoringMatrix: Sendable {
    /// The rank r.
    public let rank: Int
    /// S, [r, r].
    public let elements: [Double]
    /// S⁻¹, [r, r].
    public let inverse: [Double]
    /// ‖S‖ ‖S⁻¹‖ in Frobenius norms: between cond(S) and r · cond(S).
    public var conditionNumber: Double { norm * inverseNorm }
    /// ‖S‖, Frobenius.
    let norm: Double
    /// ‖S⁻¹‖, Frobenius.
    let inverseNorm: Double
    /// Whether eigenvalues of X or Y were raised to the floor.
    public let isClamped: Bool

    /// Why there is no S.
    public enum Failure: Error {
        /// A or B is exactly zero: a start, or a layer that gets no gradient.
        case zeroFactor
        /// A factor holds NaN or infinity, or the iteration did not converge.
        case notComputable
    }

    /// Eigenvalues of X and Y below this part of the largest are raised to it.
    ///
    /// fp32 factors carry rounding of 6e-8, thus their Gram matrices' eigenvalues below 4e-15 are
    /// noise; at 1e-12 a direction that a factor lacks amplifies a gradient's rounding to a tenth of
    /// the gradient at most.
    public static let eigenvalueFloor = 1e-12

    /// Computes S for the factors `a` [rank, in] and `b` [out, rank].
    public init(a: [Double], b: [Double], rank: Int) throws(Failure) {
        try self.init(
            x: SymmetricMatrix(gramOfRows: a, size: rank),
            y: SymmetricMatrix(gramOfColumns: b, size: rank))
    }

    init(x: SymmetricMatrix, y: SymmetricMatrix) throws(Failure) {
        let batch = RefactoringBatch(rank: x.size, kernels: InstructionSet.current.kernels)
        batch.x(0).update(from: x.elements, count: x.elements.count)
        batch.y(0).update(from: y.elements, count: y.elements.count)
        self = try batch.matrices(count: 1)[0].get()
    }

    init(s: SymmetricMatrix, inverse: SymmetricMatrix, isClamped: Bool) throws(Failure) {
        rank = s.size
        elements = s.elements
        self.inverse = inverse.elements
        norm = s.frobeniusNorm
        inverseNorm = inverse.frobeniusNorm
        self.isClamped = isClamped
        guard conditionNumber.isFinite else { throw .notComputable }
    }
}
