import QuantKernels
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Persistent threads for regions of microseconds.
///
/// A worker that finished a region spins for a while before it sleeps, because the next region of a
/// token's forward pass is only microseconds away (measured: spinning 0.1 µs a region, a condition
/// variable 24 µs, Dispatch runs such regions serially). With more threads than cores nobody spins:
/// the one that is waited for may need the core.
public final class ThreadPool: @unchecked Sendable {
    // Unchecked: `body` is written only by the caller of `run`, which holds `entry`, while no worker
    // reads it: after the last worker's decrement of `running` and before `generation` is advanced.

    /// How many threads run a region, the caller's among them.
    public let count: Int

    private typealias Body = (Int) -> Void
    private var body: Body = { _ in }
    // `generation` is read by all while they spin and `running` written by all when they finish: on
    // different cache lines, or every finish would disturb the spinners.
    private let generation = Atomic<Int>(0)
    private let padding: (Int, Int, Int, Int, Int, Int, Int, Int) = (0, 0, 0, 0, 0, 0, 0, 0)
    private let running = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private let spins: Int
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private let entry: UnsafeMutablePointer<pthread_mutex_t>
    private var threads: [pthread_t] = []

    /// Starts `threads - 1` workers; nil means one thread a core.
    public init(threads: Int? = nil) {
        let cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        count = max(1, threads ?? cores)
        // A pause takes 10 to 50 ns: 2000 are longer than the gaps inside a token, and shorter than
        // a scheduler's slice.
        spins = count <= cores ? 2000 : 0
        lock = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        entry = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
        pthread_mutex_init(entry, nil)
        for index in 1..<count { start(worker: index) }
    }

    deinit {
        stopping.store(true, ordering: .releasing)
        advance()
        for thread in threads { pthread_join(thread, nil) }
        pthread_mutex_destroy(lock)
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(entry)
        lock.deallocate()
        wake.deallocate()
        entry.deallocate()
    }

    /// Runs `body(thread)` once on every thread, 0 ..< count, and returns when all have.
    ///
    /// Regions of one pool run one after the other, whoever calls; a region inside a region
    /// deadlocks.
    public func run(_ body: (Int) -> Void) {
        guard count > 1 else { return body(0) }
        pthread_mutex_lock(entry)
        defer { pthread_mutex_unlock(entry) }
        withoutActuallyEscaping(body) { body in
            self.body = body
            running.store(count - 1, ordering: .relaxed)
            advance()
            body(0)
            var waited = 0
            while running.load(ordering: .acquiring) > 0 {
                waited += 1
                if waited > spins { sched_yield() } else { quant_pause() }
            }
            self.body = { _ in }
        }
    }

    /// Divides 0 ..< total into one contiguous range a thread, cut at multiples of `grain`.
    ///
    /// The cut depends on the number of threads, never on timing; a thread without work is skipped.
    public func split(
        _ total: Int, by grain: Int = 1, _ body: (_ thread: Int, _ begin: Int, _ end: Int) -> Void
    ) {
        precondition(total >= 0 && grain > 0, "\(total) in pieces of \(grain)")
        let pieces = total / grain + (total % grain > 0 ? 1 : 0)
        guard pieces > 1, count > 1 else {
            if total > 0 { body(0, 0, total) }
            return
        }
        run { thread in
            let begin = min(pieces * thread / count * grain, total)
            let end = min(pieces * (thread + 1) / count * grain, total)
            if begin < end { body(thread, begin, end) }
        }
    }

    private func advance() {
        generation.add(1, ordering: .sequentiallyConsistent)
        guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
        pthread_mutex_lock(lock)
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(lock)
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

    private func work(_ index: Int) {
        var seen = 0
        while true {
            seen = waitForGeneration(after: seen)
            if stopping.load(ordering: .acquiring) { return }
            perform(index)
            running.subtract(1, ordering: .releasing)
        }
    }

    // Not inlined: the worker's reference to the closure must be gone when `running` says that it has
    // finished, for the closure does not outlive the call of `run`.
    @inline(never)
    private func perform(_ index: Int) { body(index) }

    private func waitForGeneration(after seen: Int) -> Int {
        for _ in 0..<spins {
            let now = generation.load(ordering: .acquiring)
            if now != seen { return now }
            quant_pause()
        }
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        // Announced before the last look: either the caller sees a sleeper, or this sees the region.
        sleepers.add(1, ordering: .sequentiallyConsistent)
        defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
        while true {
            let now = generation.load(ordering: .sequentiallyConsistent)
            if now != seen { return now }
            pthread_cond_wait(wake, lock)
        }
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
