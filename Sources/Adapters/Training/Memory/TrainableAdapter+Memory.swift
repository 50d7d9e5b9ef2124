import LorikeetQuant

extension TrainableAdapter {
    /// Bytes of an adapter's factors, of their gradients, and of what else it needs of the base.
    package struct Memory: Sendable, Equatable {
        /// A, B and magnitudes, with what the model sees of them.
        package var factors: Int
        /// Their gradients, likewise.
        package var gradients: Int
    }

    /// Elements of each trained parameter of a layer of this shape.
    static func parameterCounts(_ shape: Shape, rank: Int, method: some Method) -> [Int] {
        var counts = [shape.outputSize * rank]
        if method.learnsA { counts.insert(rank * shape.inputSize, at: 0) }
        if method.trainsMagnitudes { counts.append(shape.outputSize) }
        return counts
    }

    /// The memory of an adapter for layers of these shapes.
    ///
    /// - Parameters:
    ///   - shapes: the layers.
    ///   - rank: r.
    ///   - method: what is trained.
    ///   - subtractsStart: whether the model sees a second half, the start.
    /// - Returns: its bytes.
    package static func memory(
        _ shapes: [Shape], rank: Int, method: some Method, subtractsStart: Bool = false
    ) -> Memory {
        shapes.reduce(into: Memory(factors: 0, gradients: 0)) { memory, shape in
            let (a, b) = (rank * shape.inputSize, shape.outputSize * rank)
            memory.factors += Buffer<Float>.memory(a) + Buffer<Float>.memory(b)
            memory.gradients +=
                Buffer<Float>.memory(method.learnsA ? a : 0) + Buffer<Float>.memory(b)
            if method.trainsMagnitudes {
                // m, the rows' lengths, and their quotient.
                memory.factors += 3 * Buffer<Float>.memory(shape.outputSize)
                memory.gradients += Buffer<Float>.memory(shape.outputSize)
            }
            if subtractsStart {
                let difference = Buffer<Float>.memory(2 * a) + Buffer<Float>.memory(2 * b)
                memory.factors += difference
                memory.gradients += difference
            }
        }
    }
}
