import COpenBLAS

/// The principal directions of vectors that come a few at a time: the right singular vectors of all of
/// them stacked, of which only the best are kept.
///
///     [Σ V; X] → its Gram matrix's eigenvectors P → Σ V ← Pᵀ [Σ V; X]
///
/// The mean is not taken off.
/// Source: Ross et al., "Incremental Learning for Robust Visual Tracking" (2008), section 3.1; as EVA
/// uses it, Paischer et al., "One Initialization to Rule them All" (2024), algorithm 1.
package struct InputDirections {
    /// How many directions are kept.
    package let count: Int
    /// The length of a vector.
    package let columns: Int
    /// Directions times their singular values, [count, columns]; fewer rows while fewer vectors came.
    private var scaled: [Double] = []

    /// Room for `count` directions.
    package init(count: Int, columns: Int) {
        precondition(count > 0 && count <= columns, "\(count) directions of length \(columns)")
        self.count = count
        self.columns = columns
    }

    /// Takes in `vectors` [rows, columns].
    package mutating func add(_ vectors: UnsafeBufferPointer<Float>) {
        OpenBLAS.useOneThread
        let stacked = scaled + vectors.lazy.map(Double.init)
        let rows = stacked.count / columns
        let kept = min(count, rows)
        let (_, directions) = SymmetricMatrix(gramOfRows: stacked, size: rows)
            .largestEigenvectors(kept)
        scaled = [Double](repeating: 0, count: kept * columns)
        cblas_dgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(kept), Int32(columns), Int32(rows), 1,
            directions, Int32(rows), stacked, Int32(columns), 0, &scaled, Int32(columns))
    }

    /// The first `count` directions, of length 1, [count, columns]; nil before there are so many.
    package func directions(_ count: Int) -> [Double]? {
        guard scaled.count >= count * columns else { return nil }
        var result = Array(scaled.prefix(count * columns))
        for row in 0..<count {
            let range = row * columns..<(row + 1) * columns
            let norm = result[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard norm > 0 else { return nil }
            for index in range { result[index] /= norm }
        }
        return result
    }
}
