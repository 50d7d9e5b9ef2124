import COpenBLAS
import LorikeetRuntime

/// A matrix that is known by its products alone: a weight in 4 bits, the difference of two.
package protocol LinearOperator {
    /// Rows of the matrix W.
    var rows: Int { get }
    /// Columns of it.
    var columns: Int { get }
    /// X Wᵀ for X [count, columns]: [count, rows].
    func multiply(_ x: [Float], count: Int) -> [Float]
    /// Y W for Y [count, rows]: [count, columns].
    func multiplyTransposed(_ y: [Float], count: Int) -> [Float]
}

/// The largest singular values of a matrix W ≈ Uᵀ diag(σ) V and their vectors, W never being formed.
///
/// By block Krylov iteration: the space spanned by Y, Y (W Wᵀ), Y (W Wᵀ)², … for a few random rows Y,
/// and the best approximation within it. A flat spectrum, as that of a quantization error, needs the
/// whole Krylov space: the last power alone converges far slower.
/// Source: Musco and Musco, "Randomized Block Krylov Methods for Stronger and Faster Approximate Singular
/// Value Decomposition" (2015), algorithm 2.
package struct PrincipalComponents {
    /// σ, descending, [rank].
    package let values: [Double]
    /// Left singular vectors as rows, [rank, rows of W].
    package let left: [Double]
    /// Right singular vectors as rows, [rank, columns of W].
    package let right: [Double]

    /// How many rows more than the rank a block has.
    private static let oversampling = 8
    /// Powers of W Wᵀ.
    private static let depth = 4

    /// Computes the `rank` largest; the start follows from `seed`.
    package init(of matrix: some LinearOperator, rank: Int, seed: UInt64) {
        let (m, n) = (matrix.rows, matrix.columns)
        let smaller = min(m, n)
        precondition(rank > 0 && rank <= smaller, "\(rank) singular values of \(m) × \(n)")
        let width = min(rank + Self.oversampling, smaller)
        var generator = SeededGenerator(seed: seed)
        let start = (0..<width * n).map { _ in Float(generator.normal()) }
        var block = matrix.multiply(start, count: width).map(Double.init)
        var basis = OrthonormalRows(columns: m)
        // The basis times W, [basis.count, n]
        var projected: [Double] = []
        for _ in 0...Self.depth {
            // A space cannot have more dimensions than the matrix.
            let room = min(width, smaller - basis.count)
            guard room > 0 else { break }
            let rows = basis.append(Array(block.prefix(room * m)))
            let image = matrix.multiplyTransposed(rows.map(Float.init), count: room)
            projected += image.map(Double.init)
            block = matrix.multiply(image, count: room).map(Double.init)
        }

        // Q W Wᵀ Qᵀ = P diag(σ²) Pᵀ within the space, hence U = Pᵀ Q and V = σ⁻¹ Pᵀ Q W.
        let size = basis.count
        let gram = SymmetricMatrix(gramOfRows: projected, size: size)
        let eigen = gram.largestEigenvectors(rank)
        var vectors = eigen.vectors
        values = eigen.values.map { max($0, 0).squareRoot() }
        // The sign is free: the first of the largest elements of a left vector is positive.
        var left = multiply(vectors, basis.elements, rows: rank, inner: size, columns: m)
        for i in 0..<rank {
            let row = left[i * m..<(i + 1) * m]
            guard let largest = row.max(by: { abs($0) < abs($1) }), largest < 0 else { continue }
            for j in 0..<size { vectors[i * size + j] = -vectors[i * size + j] }
            for j in row.indices { left[j] = -left[j] }
        }
        self.left = left
        var right = multiply(vectors, projected, rows: rank, inner: size, columns: n)
        for i in 0..<rank {
            let scale = values[i] > 0 ? 1 / values[i] : 0
            for j in i * n..<(i + 1) * n { right[j] *= scale }
        }
        self.right = right
    }
}

/// X Y for X [rows, inner] and Y [inner, columns].
private func multiply(
    _ x: [Double], _ y: [Double], rows: Int, inner: Int, columns: Int
) -> [Double] {
    var result = [Double](repeating: 0, count: rows * columns)
    cblas_dgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), Int32(columns), Int32(inner), 1, x,
        Int32(inner), y, Int32(columns), 0, &result, Int32(columns))
    return result
}
