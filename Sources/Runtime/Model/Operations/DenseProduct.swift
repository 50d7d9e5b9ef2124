import COpenBLAS

/// Products of dense fp32 matrices that are not weights: low-rank factors, attention scores.
package enum DenseProduct {
    /// Whether a factor is used as it lies or transposed.
    package enum Form {
        /// As it lies.
        case plain
        /// Transposed.
        case transposed
    }

    // OpenBLAS must not start threads of its own: the products here run inside the pool's.
    private static let singleThreaded: Void = openblas_set_num_threads(1)

    /// C = α op(A) op(B) + β C on the calling thread.
    ///
    /// - rows: m; op(A) is [m, k] and C is [m, n].
    /// - columns: n; op(B) is [k, n].
    /// - inner: k
    /// - lda: floats between two rows of A as it lies; `ldb` and `ldc` likewise.
    /// - beta: 0 overwrites C, whatever it held.
    package static func multiply(
        rows: Int, columns: Int, inner: Int, alpha: Float = 1,
        _ a: UnsafePointer<Float>, _ formA: Form = .plain, lda: Int,
        _ b: UnsafePointer<Float>, _ formB: Form = .plain, ldb: Int,
        beta: Float = 0, into c: UnsafeMutablePointer<Float>, ldc: Int
    ) {
        guard rows > 0, columns > 0 else { return }
        _ = singleThreaded
        cblas_sgemm(
            CblasRowMajor, formA == .plain ? CblasNoTrans : CblasTrans,
            formB == .plain ? CblasNoTrans : CblasTrans, Int32(rows), Int32(columns), Int32(inner),
            alpha, a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
    }
}
