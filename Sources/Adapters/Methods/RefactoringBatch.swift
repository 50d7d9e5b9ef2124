import LorikeetQuant
import QuantKernels

/// What one thread needs to compute S of up to eight layers at once: the kernels work on one layer a
/// vector lane, and a layer's S is the same bit for bit whatever its neighbours.
struct RefactoringBatch {
    /// How many layers go at once.
    static let capacity = Int(QUANT_PAIRS)

    /// The rank r.
    let rank: Int
    /// The kernels.
    let kernels: quant_kernels
    /// The kernels' scratch.
    let scratch: Buffer<Double>
    // X, Y, S and S⁻¹, [capacity, r, r] each
    private let xs: Buffer<Double>
    private let ys: Buffer<Double>
    private let means: Buffer<Double>
    private let inverses: Buffer<Double>

    /// Memory for layers of one rank.
    init(rank: Int, kernels: quant_kernels) {
        self.rank = rank
        self.kernels = kernels
        scratch = Buffer(uninitialized: quant_factor_scratch(rank))
        let count = Self.capacity * rank * rank
        xs = Buffer(uninitialized: count)
        ys = Buffer(uninitialized: count)
        means = Buffer(uninitialized: count)
        inverses = Buffer(uninitialized: count)
    }

    /// Bytes for layers of one rank.
    static func memory(rank: Int) -> Int {
        Buffer<Double>.memory(quant_factor_scratch(rank))
            + 4 * Buffer<Double>.memory(capacity * rank * rank)
    }

    /// Where X = A Aᵀ of a layer goes, [r, r].
    func x(_ index: Int) -> UnsafeMutablePointer<Double> { xs.pointer + index * rank * rank }

    /// Where Y = Bᵀ B of a layer goes, [r, r].
    func y(_ index: Int) -> UnsafeMutablePointer<Double> { ys.pointer + index * rank * rank }

    /// S for the first `count` X and Y.
    func matrices(count: Int) -> [Result<RefactoringMatrix, RefactoringMatrix.Failure>] {
        let found = mean(count, condition: 1 / RefactoringMatrix.eigenvalueFloor)
        return (0..<count).map { index in
            if found & 1 << index != 0 { return matrix(index, isClamped: false) }
            // Rare: it has the batch for itself, in another piece of memory.
            return RefactoringBatch(rank: rank, kernels: kernels).floored(
                x: symmetric(x(index)), y: symmetric(y(index)))
        }
    }

    /// S of one pair after its eigenvalues were raised to the floor, or why there is none.
    private func floored(
        x: SymmetricMatrix, y: SymmetricMatrix
    )
        -> Result<RefactoringMatrix, RefactoringMatrix.Failure>
    {
        guard x.isFinite, y.isFinite else { return .failure(.notComputable) }
        guard x.trace > 0, y.trace > 0 else { return .failure(.zeroFactor) }
        let floor = RefactoringMatrix.eigenvalueFloor
        guard let flooredX = x.clampingEigenvalues(atRelative: floor),
            let flooredY = y.clampingEigenvalues(atRelative: floor)
        else { return .failure(.notComputable) }
        self.x(0).update(from: flooredX.elements, count: rank * rank)
        self.y(0).update(from: flooredY.elements, count: rank * rank)
        guard mean(1, condition: .infinity) != 0 else { return .failure(.notComputable) }
        return matrix(0, isClamped: flooredX != x || flooredY != y)
    }

    private func mean(_ count: Int, condition: Double) -> UInt32 {
        kernels.geometric_means(
            count, rank, condition, xs.pointer, ys.pointer, means.pointer, inverses.pointer,
            scratch.pointer)
    }

    private func matrix(
        _ index: Int, isClamped: Bool
    )
        -> Result<RefactoringMatrix, RefactoringMatrix.Failure>
    {
        Result { () throws(RefactoringMatrix.Failure) in
            try RefactoringMatrix(
                s: symmetric(means.pointer + index * rank * rank),
                inverse: symmetric(inverses.pointer + index * rank * rank), isClamped: isClamped)
        }
    }

    private func symmetric(_ elements: UnsafeMutablePointer<Double>) -> SymmetricMatrix {
        SymmetricMatrix(
            size: rank,
            elements: Array(UnsafeBufferPointer(start: elements, count: rank * rank)))
    }
}
