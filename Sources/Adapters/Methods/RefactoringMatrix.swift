#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

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
    public let conditionNumber: Double
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
        guard x.isFinite, y.isFinite else { throw .notComputable }
        guard x.trace > 0, y.trace > 0 else { throw .zeroFactor }
        guard let start = Self.floored(x), let target = Self.floored(y),
            let (s, inverse) = Self.meanOfPair(target, start)
        else { throw .notComputable }
        rank = x.size
        elements = s.elements
        self.inverse = inverse.elements
        conditionNumber = s.frobeniusNorm * inverse.frobeniusNorm
        isClamped = start != x || target != y
        guard conditionNumber.isFinite else { throw .notComputable }
    }

    /// The matrix itself where it is well enough conditioned, or with its eigenvalues clamped.
    private static func floored(_ matrix: SymmetricMatrix) -> SymmetricMatrix? {
        // tr M · tr M⁻¹ bounds the condition from above: the eigenvalues are rarely needed.
        if let (inverse, _) = matrix.inverted(), matrix.trace * inverse.trace < 1 / eigenvalueFloor
        {
            return matrix
        }
        return matrix.clampingEigenvalues(atRelative: eigenvalueFloor)
    }

    private static func meanOfPair(
        _ m: SymmetricMatrix, _ n: SymmetricMatrix
    )
        -> (SymmetricMatrix, SymmetricMatrix)?
    {
        var (m, n) = (m, n)
        var previousChange = Double.infinity
        // 8–10 iterations at condition 1e8; the bound only ends what does not converge.
        for _ in 0..<60 {
            guard let (mInverse, mLog) = m.inverted(), let (nInverse, nLog) = n.inverted() else {
                return nil
            }
            let mu = exp(-(mLog + nLog) / Double(2 * m.size))
            let change = average(&m, nInverse, mu)
            average(&n, mInverse, mu)
            guard change.isFinite else { return nil }
            // Quadratic: after a change of 1e-9 the error is 1e-18. Ill-conditioned pairs stop shrinking
            // earlier, at their rounding error.
            if change < 1e-9 || (change < 1e-3 && change > previousChange / 2) { return (m, n) }
            previousChange = change
        }
        return nil
    }

    /// M ← (μ M + (μ N)⁻¹) / 2; returns ‖change‖ / ‖M‖.
    @discardableResult
    private static func average(
        _ m: inout SymmetricMatrix, _ nInverse: SymmetricMatrix, _ mu: Double
    )
        -> Double
    {
        let (kept, added) = (0.5 * mu, 0.5 / mu)
        var change = 0.0
        var norm = 0.0
        m.elements.withUnsafeMutableBufferPointer { m in
            nInverse.elements.withUnsafeBufferPointer { nInverse in
                for index in m.indices {
                    let next = kept * m[index] + added * nInverse[index]
                    change += (next - m[index]) * (next - m[index])
                    norm += next * next
                    m[index] = next
                }
            }
        }
        return (change / norm).squareRoot()
    }
}
