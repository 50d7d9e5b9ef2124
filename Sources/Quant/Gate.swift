import Synchronization

/// Where pieces of a region wait until some others of the same region are done.
///
/// Threads claim pieces in ascending order: one that waits for lower ones never waits for what nobody has
/// begun.
final class Gate: Sendable {
    private let missing = Atomic<Int>(0)
    private let opened = SpinningCondition()

    /// Closes until `arrive` was called `count` times; before the region.
    func close(until count: Int) { missing.store(count, ordering: .releasing) }

    /// One of those waited for is done.
    func arrive() {
        let left = missing.subtract(1, ordering: .sequentiallyConsistent).newValue
        if left == 0 { opened.notify() }
    }

    /// Returns when all are.
    func wait() { opened.wait { missing.load(ordering: .sequentiallyConsistent) <= 0 } }
}
