import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Persistent threads for regions of microseconds.
///
/// A region is a number of pieces, which threads claim one by one: a worker that the system has put
/// aside for another program holds up the piece that it claimed, and nothing else.
///
/// A worker that finished a region spins for a while before it sleeps, because the next region of a
/// token's forward pass is only microseconds away (measured: spinning 0.1 µs a region, a condition
/// variable 24 µs, Dispatch runs such regions serially). The caller too sleeps when a worker that it waits
/// for does not come back: whoever took that one's core may then have the caller's. With more threads than
/// cores nobody spins: the one that is waited for may need the core.
public final class ThreadPool: @unchecked Sendable {
    // Unchecked: `body` and `pieces` are written only by the caller of `run`, which holds `entry`, while
    // no piece is claimed: a claim succeeds in the generation it was seen in alone, and `run` does not
    // return before every claimed piece is finished.

    /// How many threads run a region, the caller's among them.
    public let count: Int

    private typealias Body = (_ thread: Int, _ piece: Int) -> Void
    private var body: Body = { _, _ in }
    private var pieces = 0
    // A generation, and in the low bits how many pieces of its region are left to claim: in one word, so
    // that who looks late finds none. `claims` is read by all while they spin, `finished` written by
    // all: on different cache lines, or every finish would disturb the spinners.
    private let claims = Atomic<Int>(0)
    private static let pieceBits = 24
    private let padding: (Int, Int, Int, Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0, 0, 0, 0)
    private let finished = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private let spins: Int
    private let niceness: Int
    // Workers wait for a region, its caller for their last piece.
    private let begun = SpinningCondition()
    private let ended = SpinningCondition()
    private let entry: UnsafeMutablePointer<pthread_mutex_t>
    private var threads: [pthread_t] = []

    /// One thread a core.
    public static var defaultCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// Starts `threads - 1` workers; nil means one thread a core.
    ///
    /// - niceness: how far they stand back behind other threads that want a core, as nice(1) counts it.
    public init(threads: Int? = nil, niceness: Int = 0) {
        self.niceness = niceness
        let cores = Self.defaultCount
        count = max(1, threads ?? cores)
        spins = count <= cores ? SpinningCondition.spins : 0
        entry = .allocate(capacity: 1)
        pthread_mutex_init(entry, nil)
        for index in 1..<count { start(worker: index) }
    }

    deinit {
        stopping.store(true, ordering: .releasing)
        advance(pieces: 0)
        for thread in threads { pthread_join(thread, nil) }
        pthread_mutex_destroy(entry)
        entry.deallocate()
    }

    /// Runs `body` once for every piece of 0 ..< pieces, and returns when all are done; a thread that is
    /// free takes the next piece, in ascending order.
    ///
    /// Which thread gets which piece depends on timing: `body` must write what belongs to its piece, or
    /// to its thread, and nothing else. Regions of one pool run one after the other, whoever calls; a
    /// region inside a region deadlocks.
    public func run(
        pieces: Int, _ body: (_ thread: Int, _ piece: Int) -> Void
    ) {
        precondition(pieces >= 0 && pieces < 1 << Self.pieceBits, "\(pieces) pieces")
        guard count > 1, pieces > 1 else {
            for piece in 0..<pieces { body(0, piece) }
            return
        }
        pthread_mutex_lock(entry)
        defer { pthread_mutex_unlock(entry) }
        withoutActuallyEscaping(body) { body in
            self.body = body
            self.pieces = pieces
            finished.store(0, ordering: .relaxed)
            let generation = advance(pieces: pieces)
            perform(0, in: generation)
            ended.wait(spins: spins) {
                finished.load(ordering: .sequentiallyConsistent) == pieces
            }
            self.body = { _, _ in }
        }
    }

    /// Divides 0 ..< total into contiguous ranges, cut at multiples of `grain`.
    ///
    /// The cut depends on the number of threads, never on timing.
    ///
    /// `perThread` ranges a thread, where there is enough to divide: several, so that a thread which is
    /// held up leaves its share to the others; one where a range costs as much as its work.
    ///
    /// `first` runs for every piece of 0 ..< lead, all of which are claimed before any range is.
    public func split(
        _ total: Int, by grain: Int = 1, perThread: Int = 4, after lead: Int = 0,
        first: (_ thread: Int, _ piece: Int) -> Void = { _, _ in },
        _ body: (_ thread: Int, _ begin: Int, _ end: Int) -> Void
    ) {
        precondition(total >= 0 && grain > 0, "\(total) in pieces of \(grain)")
        let grains = total / grain + (total % grain > 0 ? 1 : 0)
        guard grains + lead > 1, count > 1 else {
            for piece in 0..<lead { first(0, piece) }
            if total > 0 { body(0, 0, total) }
            return
        }
        // Four grains make a range worth claiming.
        let pieces = min(grains, max(count, min(count * perThread, grains / 4)))
        run(pieces: lead + pieces) { thread, piece in
            guard piece >= lead else { return first(thread, piece) }
            let index = piece - lead
            let begin = min(grains * index / pieces * grain, total)
            let end = min(grains * (index + 1) / pieces * grain, total)
            if begin < end { body(thread, begin, end) }
        }
    }

    /// Begins the next generation, with so many pieces to claim, and wakes who sleeps.
    @discardableResult
    private func advance(pieces: Int) -> Int {
        let generation = claims.load(ordering: .relaxed) >> Self.pieceBits + 1
        claims.store(generation << Self.pieceBits | pieces, ordering: .sequentiallyConsistent)
        begun.notify()
        return generation
    }

    // Not inlined: a worker's reference to the closure must be gone when `finished` says that it is
    // done, for the closure does not outlive the call of `run`.
    @inline(never)
    private func perform(_ thread: Int, in generation: Int) {
        while let piece = claim(in: generation) {
            performPiece(thread, piece)
            // Asked before the last piece is finished, after which the next region may begin.
            let count = pieces
            let now = finished.add(1, ordering: .sequentiallyConsistent).newValue
            if now == count { ended.notify() }
        }
    }

    @inline(never)
    private func performPiece(_ thread: Int, _ piece: Int) { body(thread, piece) }

    /// The next piece of the generation's region, if there is one and the generation is still on.
    private func claim(in generation: Int) -> Int? {
        var seen = claims.load(ordering: .acquiring)
        while seen >> Self.pieceBits == generation {
            let left = seen & (1 << Self.pieceBits - 1)
            guard left > 0 else { return nil }
            let (exchanged, original) = claims.weakCompareExchange(
                expected: seen, desired: seen - 1, ordering: .acquiringAndReleasing)
            if exchanged { return pieces - left }
            seen = original
        }
        return nil
    }

    private func start(worker index: Int) {
        // The worker holds the pool unowned: deinit joins it before the memory goes.
        let box = Unmanaged.passRetained(Worker(pool: Unmanaged.passUnretained(self), index: index))
        var thread = pthread_t()
        let failure = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let worker = Unmanaged<Worker>.fromOpaque(argument).takeRetainedValue()
                worker.pool._withUnsafeGuaranteedRef { $0.work(worker.index) }
                return nil
            }, box.toOpaque())
        precondition(failure == 0, "cannot start a thread: \(String(cString: strerror(failure)))")
        threads.append(thread)
    }

    /// Has the calling thread stand back as the workers do, for good.
    public func adoptNiceness() {
        // Linux's priorities are a thread's own; standing back is always allowed. 0 is PRIO_PROCESS, which C
        // libraries declare as different types.
        if niceness > 0 { setpriority(0, 0, Int32(niceness)) }
    }

    private func work(_ index: Int) {
        adoptNiceness()
        var seen = 0
        while true {
            begun.wait(spins: spins) { generation != seen }
            seen = generation
            if stopping.load(ordering: .acquiring) { return }
            perform(index, in: seen)
        }
    }

    /// The number of the region that began last.
    private var generation: Int {
        claims.load(ordering: .sequentiallyConsistent) >> Self.pieceBits
    }

    private final class Worker {
        let pool: Unmanaged<ThreadPool>
        let index: Int

        init(pool: Unmanaged<ThreadPool>, index: Int) {
            self.pool = pool
            self.index = index
        }
    }
}
