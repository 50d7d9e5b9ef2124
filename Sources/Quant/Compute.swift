public import QuantKernels

/// What computations run on: one instruction set's kernels, a pool of threads, and their scratch.
public final class Compute: Sendable {
    /// The kernels.
    public let kernels: quant_kernels
    /// The threads.
    public let pool: ThreadPool
    /// The arithmetic of the products with frozen weights, where a model is made for this.
    public let precision: Precision
    private let scratches: [Buffer<Float>]

    /// - Parameters:
    ///   - threads: how many threads; nil for one a core.
    ///   - precision: the arithmetic of a model's products with its frozen weights.
    ///   - instructionSet: whose kernels.
    public init(
        threads: Int? = nil, precision: Precision = .int16,
        instructionSet: InstructionSet = .current
    ) {
        self.precision = precision
        kernels = instructionSet.kernels
        pool = ThreadPool(threads: threads)
        scratches = (0..<pool.count).map { _ in
            Buffer(Self.scratchCount)
        }
    }

    /// The same arithmetic on the caller's thread alone: it waits for nobody else's regions, and gives the
    /// same bits.
    public func alone() -> Compute {
        Compute(threads: 1, precision: precision, instructionSet: InstructionSet(kernels: kernels))
    }

    // The floats that the kernels want of a thread.
    private static let scratchCount = Int(
        max(QUANT_MATMUL_SCRATCH, QUANT_TILES_SCRATCH, QUANT_ATTEND_SCRATCH))

    /// Bytes of the kernels' scratch of so many threads.
    public static func memory(threads: Int) -> Int { threads * Buffer<Float>.memory(scratchCount) }

    /// The kernels' scratch of one thread of the pool.
    public func scratch(_ thread: Int) -> UnsafeMutablePointer<Float> { scratches[thread].pointer }
}
