package import LorikeetQuant
import QuantKernels

/// Products of dense fp32 matrices that are not weights: low-rank factors, attention scores.
///
/// The kernels' own rather than a BLAS's: inside regions of our threads, and at full speed on processors
/// that a distribution's OpenBLAS does not know (it falls back to SSE3 there, an eighth of the speed).
package enum DenseProduct {
    /// Whether a factor is used as it lies or transposed.
    package enum Form {
        /// As it lies.
        case plain
        /// Transposed.
        case transposed
    }

    /// C (+)= α op(A) op(B) on the calling thread.
    ///
    /// - rows: m; op(A) is [m, k] and C is [m, n].
    /// - columns: n; op(B) is [k, n].
    /// - inner: k
    /// - lda: floats between two rows of A as it lies; `ldb` and `ldc` likewise.
    /// - accumulate: whether C is added to, or overwritten.
    /// - thread: whose scratch of `compute` is free.
    package static func multiply(
        rows: Int, columns: Int, inner: Int, alpha: Float = 1,
        _ a: UnsafePointer<Float>, _ formA: Form = .plain, lda: Int,
        _ b: UnsafePointer<Float>, _ formB: Form = .plain, ldb: Int,
        accumulate: Bool = false, into c: UnsafeMutablePointer<Float>, ldc: Int, thread: Int,
        on compute: Compute
    ) {
        guard rows > 0, columns > 0 else { return }
        var product = quant_gemm(
            M: rows, N: columns, K: inner, alpha: alpha,
            a: a, a_row: formA == .plain ? lda : 1, a_column: formA == .plain ? 1 : lda,
            b: b, b_row: formB == .plain ? ldb : 1, b_column: formB == .plain ? 1 : ldb,
            c: c, ldc: ldc, accumulate: accumulate ? 1 : 0)
        compute.kernels.gemm(&product, compute.scratch(thread))
    }
}
