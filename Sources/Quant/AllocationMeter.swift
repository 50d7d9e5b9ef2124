import Synchronization

/// Counts the memory of the buffers that a piece of code makes and keeps: what a memory plan's formulas
/// are held against.
///
/// Buffers made on other threads are not seen.
package final class AllocationMeter: Sendable {
    @TaskLocal static var current: AllocationMeter?

    private let bytes = Atomic<Int>(0)
    private let peak = Atomic<Int>(0)

    private init() {}

    /// Calls `body`, and returns its result with the memory of the buffers it made: of those that are there
    /// still, and of the most that there were at once.
    package static func measure<Result>(
        _ body: () throws -> Result
    ) rethrows -> (result: Result, bytes: Int, peak: Int) {
        let meter = AllocationMeter()
        let result = try $current.withValue(meter, operation: body)
        return withExtendedLifetime(result) {
            (
                result, meter.bytes.load(ordering: .relaxed), meter.peak.load(ordering: .relaxed)
            )
        }
    }

    func add(_ count: Int) {
        peak.max(bytes.add(count, ordering: .relaxed).newValue, ordering: .relaxed)
    }

    func subtract(_ count: Int) { bytes.subtract(count, ordering: .relaxed) }
}
