import CLAPACKE
import COpenBLAS

/// Rows that are orthonormal to each other, in float64: the basis that a subspace grows by.
struct OrthonormalRows {
    /// The length of a row.
    let columns: Int
    /// The rows, [count, columns].
    private(set) var elements: [Double] = []
    /// How many there are.
    var count: Int { elements.count / columns }

    init(columns: Int) { self.columns = columns }

    /// Adds what `rows` [rows, columns] have beyond those that are there, and returns it: as many rows,
    /// orthonormal.
    mutating func append(_ rows: [Double]) -> [Double] {
        OpenBLAS.useOneThread
        var new = rows
        let (n, k, size) = (Int32(rows.count / columns), Int32(count), Int32(columns))
        if k > 0 {
            // Twice is enough: what the first projection leaves by rounding, the second takes.
            for _ in 0..<2 {
                var dots = [Double](repeating: 0, count: Int(n * k))
                cblas_dgemm(
                    CblasRowMajor, CblasNoTrans, CblasTrans, n, k, size, 1, new, size, elements,
                    size, 0, &dots, k)
                cblas_dgemm(
                    CblasRowMajor, CblasNoTrans, CblasNoTrans, n, size, k, -1, dots, k, elements,
                    size, 1, &new, size)
            }
        }
        Self.orthonormalize(&new, rows: Int(n), columns: columns)
        elements += new
        return new
    }

    /// Replaces `matrix` [rows, columns], rows ≤ columns, by rows that span the same: Q of M = L Q.
    static func orthonormalize(_ matrix: inout [Double], rows: Int, columns: Int) {
        precondition(rows <= columns, "\(rows) orthonormal rows of length \(columns)")
        OpenBLAS.useOneThread
        let (m, n) = (Int32(rows), Int32(columns))
        var tau = [Double](repeating: 0, count: rows)
        let status = LAPACKE_dgelqf(LAPACK_ROW_MAJOR, m, n, &matrix, n, &tau)
        let built = LAPACKE_dorglq(LAPACK_ROW_MAJOR, m, n, m, &matrix, n, tau)
        // Both fail for arguments that make no sense only.
        precondition(status == 0 && built == 0, "LAPACK refused \(rows) × \(columns)")
    }
}
