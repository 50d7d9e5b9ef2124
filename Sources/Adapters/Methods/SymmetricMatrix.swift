import CLAPACKE
import COpenBLAS

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

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

    /// The inverse of a positive definite matrix and the logarithm of the matrix's determinant, or nil
    /// where a pivot shows that it is not positive definite.
    ///
    /// Sweeping every pivot k once leaves -M^-1 (Goodnight 1979):
    /// M[i,j] -= M[i,k] M[k,j] / p,  M[i,k] /= p,  M[k,k] = -1 / p  with p = M[k,k].
    func inverted() -> (inverse: SymmetricMatrix, logDeterminant: Double)? {
        var result = self
        var logDeterminant = 0.0
        let r = size
        let isDefinite = withUnsafeTemporaryAllocation(of: Double.self, capacity: r) { column in
            result.elements.withUnsafeMutableBufferPointer { m in
                for k in 0..<r {
                    let pivot = m[k * r + k]
                    guard pivot > 0, pivot.isFinite else { return false }
                    logDeterminant += log(pivot)
                    // Only the upper triangle is kept up to date.
                    for i in 0..<r { column[i] = i < k ? m[i * r + k] : m[k * r + i] }
                    column[k] = 0
                    for i in 0..<r where i != k {
                        let factor = column[i] / pivot
                        for j in i..<r { m[i * r + j] -= factor * column[j] }
                    }
                    for i in 0..<k { m[i * r + k] = column[i] / pivot }
                    for j in (k + 1)..<max(r, k + 1) { m[k * r + j] = column[j] / pivot }
                    m[k * r + k] = -1 / pivot
                }
                for index in m.indices { m[index] = -m[index] }
                return true
            }
        }
        guard isDefinite, logDeterminant.isFinite else { return nil }
        result.mirrorUpper()
        return (result, logDeterminant)
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
