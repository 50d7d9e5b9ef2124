import LorikeetQuant

/// A frozen weight as its products; in 4 bits, it is never dequantized as a whole.
struct WeightOperator: LinearOperator {
    private let weight: LinearWeight
    private let activations: Activations
    private let compute: Compute

    init(_ weight: LinearWeight, on compute: Compute) {
        self.weight = weight
        self.compute = compute
        activations = Activations(on: compute)
    }

    var rows: Int { weight.rows }
    var columns: Int { weight.columns }

    func multiply(_ x: [Float], count: Int) -> [Float] {
        .init(unsafeUninitializedCapacity: count * rows) { y, written in
            LinearWeight.multiply([weight], x, count: count, using: activations, on: compute) { _ in
                y.baseAddress!
            }
            written = count * rows
        }
    }

    func multiplyTransposed(_ y: [Float], count: Int) -> [Float] {
        .init(unsafeUninitializedCapacity: count * columns) { x, written in
            weight.multiplyBackward(
                y, count: count, into: x.baseAddress!, accumulate: false, using: activations,
                on: compute)
            written = count * columns
        }
    }
}

/// The difference of two matrices of one shape.
struct DifferenceOperator<Left: LinearOperator, Right: LinearOperator>: LinearOperator {
    let left: Left
    let right: Right

    var rows: Int { left.rows }
    var columns: Int { left.columns }

    func multiply(_ x: [Float], count: Int) -> [Float] {
        zip(left.multiply(x, count: count), right.multiply(x, count: count)).map { $0 - $1 }
    }

    func multiplyTransposed(_ y: [Float], count: Int) -> [Float] {
        zip(left.multiplyTransposed(y, count: count), right.multiplyTransposed(y, count: count))
            .map { $0 - $1 }
    }
}
