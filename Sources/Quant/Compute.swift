public import QuantKernels

/// What computations run on: one instruction set's kernels, a pool of threads, and their scratch.
public final class Compute: Sendable {
    /// The kernels.
    public let kernels: quant_kernels
    /// The threads.
    public let pool: ThreadPool
    /// The arithmetic of the products with frozen weights, where a model is made for this.
    public let precision: Precision
    /// Whether a row's result has the same bits however many rows are computed together.
    ///
    /// Integer products and attention over halves have them in any case. Where arithmetic is in floats a
    /// single row has faster ways, whose sums are in another order; this does without them.
    public let isBatchInvariant: Bool
    private let scratches: [Buffer<Float>]

    /// - Parameters:
    ///   - threads: how many threads; nil for one a core.
    ///   - precision: the arithmetic of a model's products with its frozen weights.
    ///   - isBatchInvariant: whether a single row is computed as many are.
    ///   - instructionSet: whose kernels.
    ///   - niceness: how far the threads stand back behind others that want a core, as nice(1) counts it.
    public init(
        threads: Int? = nil, precision: Precision = .int16, isBatchInvariant: Bool = false,
        instructionSet: InstructionSet = .current, niceness: Int = 0
    ) {
        self.precision = precision
        self.isBatchInvariant = isBatchInvariant
        kernels = instructionSet.kernels
        pool = ThreadPool(threads: threads, niceness: niceness)
        scratches = (0..<pool.count).map { _ in
            Buffer(Self.scratchCount)
        }
    }

    /// The same arithmetic on the caller's thread alone: it waits for nobody else's regions, and gives the
    /// same bits.
    public func alone() -> Compute {
        Compute(
            threads: 1, precision: precision, isBatchInvariant: isBatchInvariant,
            instructionSet: InstructionSet(kernels: kernels))
    }

    // The floats that the kernels want of a thread.
    private static let scratchCount = Int(
        max(QUANT_MATMUL_SCRATCH, QUANT_TILES_SCRATCH, QUANT_ATTEND_SCRATCH))

    /// Bytes of the kernels' scratch of so many threads.
    public static func memory(threads: Int) -> Int { threads * Buffer<Float>.memory(scratchCount) }

    /// The kernels' scratch of one thread of the pool.
    public func scratch(_ thread: Int) -> UnsafeMutablePointer<Float> { scratches[thread].pointer }
}
