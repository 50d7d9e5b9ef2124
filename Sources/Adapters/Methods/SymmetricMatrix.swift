import CLAPACKE
import COpenBLAS

/// A small symmetric matrix in float64, row-major and full: the Gram matrices and S of RefLoRA.
struct SymmetricMatrix: Sendable, Equatable {
    /// The number of rows.
    let size: Int
    /// The elements, [size, size].
    var elements: [Double]

    /// Wraps elements that are symmetric already.
    init(size: Int, elements: [Double]) {
        precondition(elements.count == size * size, "\(elements.count) elements for size \(size)")
        self.size = size
        self.elements = elements
    }

    /// F Fᵀ of a wide `factor` [size, n].
    init(gramOfRows factor: [Double], size: Int) {
        self.init(gramOf: factor, size: size, transposed: false)
    }

    /// Fᵀ F of a tall `factor` [n, size].
    init(gramOfColumns factor: [Double], size: Int) {
        self.init(gramOf: factor, size: size, transposed: true)
    }

    private init(gramOf factor: [Double], size: Int, transposed: Bool) {
        precondition(factor.count % size == 0, "\(factor.count) elements for rank \(size)")
        OpenBLAS.useOneThread
        let n = factor.count / size
        var gram = [Double](repeating: 0, count: size * size)
        cblas_dsyrk(
            CblasRowMajor, CblasUpper, transposed ? CblasTrans : CblasNoTrans, Int32(size),
            Int32(n), 1, factor, Int32(transposed ? size : n), 0, &gram, Int32(size))
        self.init(size: size, elements: gram)
        mirrorUpper()
    }

    var trace: Double { (0..<size).reduce(0) { $0 + elements[$1 * size + $1] } }

    var frobeniusNorm: Double { elements.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    var isFinite: Bool { elements.allSatisfy(\.isFinite) }

    /// Copies the upper triangle into the lower.
    mutating func mirrorUpper() {
        for i in 0..<size {
            for j in 0..<i { elements[i * size + j] = elements[j * size + i] }
        }
    }

    /// The lower triangular L with L Lᵀ = M, or nil where M is not positive definite.
    func choleskyFactor() -> [Double]? {
        OpenBLAS.useOneThread
        var factor = elements
        let r = Int32(size)
        guard
            LAPACKE_dpotrf(LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "L")), r, &factor, r)
                == 0
        else { return nil }
        for i in 0..<size {
            for j in (i + 1)..<max(size, i + 1) { factor[i * size + j] = 0 }
        }
        return factor
    }

    /// The `count` largest eigenvalues, descending, and their vectors as rows [count, size].
    func largestEigenvectors(_ count: Int) -> (values: [Double], vectors: [Double]) {
        precondition(count <= size && isFinite, "\(count) eigenvectors of a matrix of size \(size)")
        OpenBLAS.useOneThread
        var columns = elements
        var values = [Double](repeating: 0, count: size)
        let r = Int32(size)
        let status = LAPACKE_dsyevd(
            LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "V")),
            CChar(bitPattern: UInt8(ascii: "U")), r, &columns, r, &values)
        precondition(status == 0, "no eigenvalues of a finite symmetric matrix")
        var vectors = [Double](repeating: 0, count: count * size)
        for i in 0..<count {
            for j in 0..<size { vectors[i * size + j] = columns[j * size + size - 1 - i] }
        }
        return (values.reversed().prefix(count).map { $0 }, vectors)
    }

    /// The matrix with every eigenvalue below `floor` times the largest one raised to that, or nil
    /// where there are no eigenvalues to be had (LAPACK failed, or the largest is not positive).
    func clampingEigenvalues(atRelative floor: Double) -> SymmetricMatrix? {
        OpenBLAS.useOneThread
        var vectors = elements
        var values = [Double](repeating: 0, count: size)
        let r = Int32(size)
        let status = LAPACKE_dsyevd(
            LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "V")),
            CChar(bitPattern: UInt8(ascii: "U")), r, &vectors, r, &values)
        // ascending
        guard status == 0, let largest = values.last, largest > 0, largest.isFinite else {
            return nil
        }
        guard values[0] < floor * largest else { return self }
        // V max(Λ, floor) Vᵀ as a Gram matrix: symmetric by construction.
        for column in 0..<size {
            let root = max(values[column], floor * largest).squareRoot()
            for row in 0..<size { vectors[row * size + column] *= root }
        }
        return SymmetricMatrix(gramOfRows: vectors, size: size)
    }
}
