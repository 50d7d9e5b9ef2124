import QuantKernels
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Where threads wait for what others make true within microseconds: they spin for a while, and then sleep.
///
/// Who only spun, or yielded, would keep a core busy while the one it waits for is put aside on another,
/// for a program that could have had the first.
final class SpinningCondition: @unchecked Sendable {
    // Unchecked: POSIX says who may touch its mutex and its condition variable: everybody.

    // A pause takes 10 to 50 ns: 2000 are longer than the gaps inside a token, and shorter than a scheduler's
    // slice.
    static let spins = 2000

    private let sleepers = Atomic<Int>(0)
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>

    init() {
        lock = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        pthread_cond_destroy(wake)
        lock.deallocate()
        wake.deallocate()
    }

    /// Returns once `isTrue`, which loads in sequentially consistent order what is stored before `notify`.
    func wait(spins: Int = spins, until isTrue: () -> Bool) {
        for _ in 0..<spins {
            if isTrue() { return }
            quant_pause()
        }
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        // Announced before the last look: either `notify` sees a sleeper, or this sees what was stored.
        sleepers.add(1, ordering: .sequentiallyConsistent)
        defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
        while !isTrue() { pthread_cond_wait(wake, lock) }
    }

    /// Has those who sleep look again, after a sequentially consistent store.
    func notify() {
        guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
        pthread_mutex_lock(lock)
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(lock)
    }
}
