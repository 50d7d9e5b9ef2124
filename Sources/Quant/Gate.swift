import QuantKernels
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Where pieces of a region wait until some others of the same region are done.
///
/// Threads claim pieces in ascending order: one that waits for lower ones never waits for what nobody has
/// begun.
final class Gate: Sendable {
    private let missing = Atomic<Int>(0)
    // As long as a worker of the pool spins.
    private static let spins = 2000

    /// Closes until `arrive` was called `count` times; before the region.
    func close(until count: Int) { missing.store(count, ordering: .releasing) }

    /// One of those waited for is done.
    func arrive() { missing.subtract(1, ordering: .acquiringAndReleasing) }

    /// Returns when all are.
    func wait() {
        var waited = 0
        while missing.load(ordering: .acquiring) > 0 {
            waited += 1
            if waited > Self.spins { sched_yield() } else { quant_pause() }
        }
    }
}
