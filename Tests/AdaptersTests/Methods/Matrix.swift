import LorikeetRuntime

/// A dense float64 matrix, plainly written: what the tests check against.
struct Matrix: Equatable {
    let rows: Int
    let columns: Int
    var elements: [Double]

    init(_ rows: Int, _ columns: Int, _ elements: [Double]) {
        precondition(elements.count == rows * columns)
        (self.rows, self.columns, self.elements) = (rows, columns, elements)
    }

    /// Independent elements of mean 0 and variance 1.
    static func random(_ rows: Int, _ columns: Int, _ generator: inout SeededGenerator) -> Matrix {
        Matrix(
            rows, columns,
            (0..<rows * columns).map { _ in
                // 12 uniforms: near enough to normal, without a logarithm.
                (0..<12).reduce(-6.0) { sum, _ in sum + generator.uniform() }
            })
    }

    /// A matrix with orthonormal rows (Gram and Schmidt, twice).
    static func orthonormalRows(
        _ rows: Int, _ columns: Int, _ generator: inout SeededGenerator
    ) -> Matrix {
        var q = random(rows, columns, &generator)
        for i in 0..<rows {
            for j in Array(0..<i) + Array(0..<i) {
                let dot = (0..<columns).reduce(0.0) { $0 + q[i, $1] * q[j, $1] }
                for k in 0..<columns { q[i, k] -= dot * q[j, k] }
            }
            let norm = (0..<columns).reduce(0.0) { $0 + q[i, $1] * q[i, $1] }.squareRoot()
            for k in 0..<columns { q[i, k] /= norm }
        }
        return q
    }

    subscript(row: Int, column: Int) -> Double {
        get { elements[row * columns + column] }
        set { elements[row * columns + column] = newValue }
    }

    var transposed: Matrix {
        Matrix(columns, rows, (0..<columns).flatMap { c in (0..<rows).map { self[$0, c] } })
    }

    var norm: Double { elements.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    /// The inverse by Gauss and Jordan with pivoting.
    var inverse: Matrix {
        var (m, result) = (self, Matrix.identity(rows))
        for k in 0..<rows {
            let pivot = (k..<rows).max { abs(m[$0, k]) < abs(m[$1, k]) }!
            for c in 0..<rows {
                (m[k, c], m[pivot, c]) = (m[pivot, c], m[k, c])
                (result[k, c], result[pivot, c]) = (result[pivot, c], result[k, c])
            }
            let p = m[k, k]
            for c in 0..<rows {
                m[k, c] /= p
                result[k, c] /= p
            }
            for i in 0..<rows where i != k {
                let f = m[i, k]
                for c in 0..<rows {
                    m[i, c] -= f * m[k, c]
                    result[i, c] -= f * result[k, c]
                }
            }
        }
        return result
    }

    /// The largest eigenvalues of a symmetric matrix, descending, and their vectors as rows: Jacobi's
    /// rotations.
    func largestEigenvectors(_ count: Int) -> (values: [Double], vectors: Matrix) {
        var (m, v) = (self, Matrix.identity(rows))
        for _ in 0..<30 {
            for p in 0..<rows {
                for q in p + 1..<max(rows, p + 1) where abs(m[p, q]) > 1e-300 {
                    let theta = (m[q, q] - m[p, p]) / (2 * m[p, q])
                    let t = (theta < 0 ? -1 : 1) / (abs(theta) + (theta * theta + 1).squareRoot())
                    let c = 1 / (t * t + 1).squareRoot()
                    let s = t * c
                    for k in 0..<rows {
                        (m[k, p], m[k, q]) = (c * m[k, p] - s * m[k, q], s * m[k, p] + c * m[k, q])
                    }
                    for k in 0..<rows {
                        (m[p, k], m[q, k]) = (c * m[p, k] - s * m[q, k], s * m[p, k] + c * m[q, k])
                        (v[p, k], v[q, k]) = (c * v[p, k] - s * v[q, k], s * v[p, k] + c * v[q, k])
                    }
                }
            }
        }
        let order = (0..<rows).sorted { m[$0, $0] > m[$1, $1] }.prefix(count)
        return (
            order.map { m[$0, $0] },
            Matrix(count, rows, order.flatMap { row in (0..<rows).map { v[row, $0] } })
        )
    }

    static func identity(_ size: Int) -> Matrix {
        Matrix(size, size, (0..<size * size).map { $0 / size == $0 % size ? 1 : 0 })
    }

    static func diagonal(_ values: [Double]) -> Matrix {
        var result = identity(values.count)
        for (i, value) in values.enumerated() { result[i, i] = value }
        return result
    }

    static func * (left: Matrix, right: Matrix) -> Matrix {
        precondition(left.columns == right.rows)
        var result = Matrix(
            left.rows, right.columns, .init(repeating: 0, count: left.rows * right.columns))
        left.elements.withUnsafeBufferPointer { l in
            right.elements.withUnsafeBufferPointer { r in
                result.elements.withUnsafeMutableBufferPointer { o in
                    for i in 0..<left.rows {
                        for k in 0..<left.columns {
                            let f = l[i * left.columns + k]
                            for j in 0..<right.columns {
                                o[i * right.columns + j] += f * r[k * right.columns + j]
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    static func * (scale: Double, m: Matrix) -> Matrix {
        Matrix(m.rows, m.columns, m.elements.map { scale * $0 })
    }

    static func + (left: Matrix, right: Matrix) -> Matrix {
        Matrix(left.rows, left.columns, zip(left.elements, right.elements).map { $0 + $1 })
    }

    static func - (left: Matrix, right: Matrix) -> Matrix {
        Matrix(left.rows, left.columns, zip(left.elements, right.elements).map { $0 - $1 })
    }

    /// The relative error ‖self − other‖ / ‖other‖.
    func relativeError(to other: Matrix) -> Double { (self - other).norm / other.norm }
}
