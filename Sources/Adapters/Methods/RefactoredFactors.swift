import COpenBLAS

/// RefLoRA's refactoring itself: A ← Pᵀ A, B ← B P⁻ᵀ with P Pᵀ = S.
///
/// The product B A stays what it was and the Gram matrices become equal: Ã Ãᵀ = B̃ᵀ B̃. Any P will do,
/// they differ by a rotation; this one is S's Cholesky factor. Under plain SGD a step from the
/// refactored factors changes the product, to first order in the learning rate, as a step with
/// preconditioned gradients does.
public struct RefactoredFactors: Sendable {
    /// Pᵀ A, [rank, in].
    public let a: [Double]
    /// B P⁻ᵀ, [out, rank].
    public let b: [Double]

    /// Refactors `a` [rank, in] and `b` [out, rank].
    ///
    /// - Throws: where there is no S, or S has no Cholesky factor.
    public init(a: [Double], b: [Double], rank: Int) throws(RefactoringMatrix.Failure) {
        let s = try RefactoringMatrix(a: a, b: b, rank: rank)
        guard let p = SymmetricMatrix(size: rank, elements: s.elements).choleskyFactor() else {
            throw .notComputable
        }
        let (r, columns, rows) = (Int32(rank), Int32(a.count / rank), Int32(b.count / rank))
        var (a, b) = (a, b)
        cblas_dtrmm(
            CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, r, columns, 1, p, r, &a,
            columns)
        cblas_dtrsm(
            CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, rows, r, 1, p, r, &b, r
        )
        self.a = a
        self.b = b
    }
}
