import CLAPACKE
import COpenBLAS

/// A small symmetric matrix in float64, row-major and full: Gram matrices, and what
/// preconditions gradients by them.
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

    /// M⁻¹, or nil where M is not positive definite.
    var inverse: SymmetricMatrix? {
        guard var inverse = choleskyFactor() else { return nil }
        let r = Int32(size)
        guard
            LAPACKE_dpotri(LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "L")), r, &inverse, r)
                == 0
        else { return nil }
        for i in 0..<size {
            for j in 0..<i { inverse[j * size + i] = inverse[i * size + j] }
        }
        return SymmetricMatrix(size: size, elements: inverse)
    }

    /// M + δ I.
    func damped(by damping: Double) -> SymmetricMatrix {
        var result = self
        for i in 0..<size { result.elements[i * size + i] += damping }
        return result
    }

    /// c M.
    func scaled(by c: Double) -> SymmetricMatrix {
        SymmetricMatrix(size: size, elements: elements.map { c * $0 })
    }

    /// T M Tᵀ.
    func transformed(by t: SquareMatrix) -> SymmetricMatrix {
        let product = SquareMatrix.productTransposed(
            t * SquareMatrix(size: size, elements: elements), t)
        var result = SymmetricMatrix(size: size, elements: product.elements)
        // Symmetric but for rounding; the upper triangle counts.
        result.mirrorUpper()
        return result
    }

    /// The `count` largest eigenvalues, descending, and their vectors as rows [count, size].
    func largestEigenvectors(_ count: Int) -> (values: [Double], vectors: [Double]) {
        guard count <= size, isFinite, let all = eigendecomposition() else {
            preconditionFailure("\(count) eigenvectors of a matrix of size \(size)")
        }
        var vectors = [Double](repeating: 0, count: count * size)
        for i in 0..<count {
            for j in 0..<size {
                vectors[i * size + j] = all.vectors.elements[j * size + size - 1 - i]
            }
        }
        return (Array(all.values.reversed().prefix(count)), vectors)
    }

    /// V and λ, ascending, of M = V diag(λ) Vᵀ, or nil where LAPACK finds none.
    func eigendecomposition() -> Eigendecomposition? {
        OpenBLAS.useOneThread
        var vectors = elements
        var values = [Double](repeating: 0, count: size)
        let r = Int32(size)
        let status = LAPACKE_dsyevd(
            LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "V")),
            CChar(bitPattern: UInt8(ascii: "U")), r, &vectors, r, &values)
        guard status == 0 else { return nil }
        return Eigendecomposition(
            values: values, vectors: SquareMatrix(size: size, elements: vectors))
    }

    /// The eigenvalues, ascending, or nil where LAPACK finds none.
    func eigenvalues() -> [Double]? {
        OpenBLAS.useOneThread
        var copy = elements
        var values = [Double](repeating: 0, count: size)
        let r = Int32(size)
        let status = LAPACKE_dsyevd(
            LAPACK_ROW_MAJOR, CChar(bitPattern: UInt8(ascii: "N")),
            CChar(bitPattern: UInt8(ascii: "U")), r, &copy, r, &values)
        return status == 0 ? values : nil
    }

    /// The matrix with every eigenvalue below `floor` times the largest one raised to that, or nil
    /// where there are no eigenvalues to be had (LAPACK failed, or the largest is not positive).
    func clampingEigenvalues(atRelative floor: Double) -> SymmetricMatrix? {
        guard let eigen = eigendecomposition(), let largest = eigen.values.last, largest > 0,
            largest.isFinite
        else { return nil }
        guard eigen.values[0] < floor * largest else { return self }
        return eigen.applying { max($0, floor * largest) }
    }
}

/// M = V diag(λ) Vᵀ of a symmetric M.
struct Eigendecomposition {
    /// λ, ascending.
    let values: [Double]
    /// V: an eigenvector a column.
    let vectors: SquareMatrix

    /// V diag(f(λ)) Vᵀ for an f that is nowhere negative.
    func applying(_ f: (Double) -> Double) -> SymmetricMatrix {
        // As a Gram matrix: symmetric by construction.
        var roots = vectors
        for column in 0..<vectors.size {
            let root = f(values[column]).squareRoot()
            for row in 0..<vectors.size { roots[row, column] *= root }
        }
        return SymmetricMatrix(gramOfRows: roots.elements, size: vectors.size)
    }
}
