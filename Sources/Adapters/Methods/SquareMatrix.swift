import COpenBLAS

/// A small square matrix in float64, row-major: what carries one basis of a factor into another.
struct SquareMatrix: Sendable, Equatable {
    /// The number of rows.
    let size: Int
    /// The elements, [size, size].
    var elements: [Double]

    /// Wraps elements.
    init(size: Int, elements: [Double]) {
        precondition(elements.count == size * size, "\(elements.count) elements for size \(size)")
        self.size = size
        self.elements = elements
    }

    subscript(row: Int, column: Int) -> Double {
        get { elements[row * size + column] }
        set { elements[row * size + column] = newValue }
    }

    /// ‖M‖, Frobenius.
    var frobeniusNorm: Double { elements.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    /// L R.
    static func * (left: SquareMatrix, right: SquareMatrix) -> SquareMatrix {
        product(left, right, transposed: (false, false))
    }

    /// Lᵀ R.
    static func transposedProduct(_ left: SquareMatrix, _ right: SquareMatrix) -> SquareMatrix {
        product(left, right, transposed: (true, false))
    }

    /// L Rᵀ.
    static func productTransposed(_ left: SquareMatrix, _ right: SquareMatrix) -> SquareMatrix {
        product(left, right, transposed: (false, true))
    }

    private static func product(
        _ left: SquareMatrix, _ right: SquareMatrix, transposed: (Bool, Bool)
    ) -> SquareMatrix {
        OpenBLAS.useOneThread
        var result = SquareMatrix(
            size: left.size, elements: [Double](repeating: 0, count: left.elements.count))
        let r = Int32(left.size)
        cblas_dgemm(
            CblasRowMajor, transposed.0 ? CblasTrans : CblasNoTrans,
            transposed.1 ? CblasTrans : CblasNoTrans, r, r, r, 1, left.elements, r, right.elements,
            r, 0, &result.elements, r)
        return result
    }
}
