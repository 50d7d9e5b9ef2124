import QuantKernels

/// How fast this machine reads memory right now, in bytes per second.
///
/// Decoding reads every weight once a token, so this over the weights' bytes is its ceiling. A machine
/// that shares its memory with others changes from second to second: probe beside what is measured.
public struct BandwidthProbe {
    private let buffer: Buffer<Float>
    private let compute: Compute

    // More than caches hold.
    private static let bytes = 512 << 20

    /// Allocates the memory.
    public init(on compute: Compute) {
        buffer = Buffer(Self.bytes / MemoryLayout<Float>.stride)
        self.compute = compute
        // Pages that were never written are all the same one, which stays in the cache.
        buffer.pointer.update(repeating: 1, count: buffer.count)
    }

    /// Reads the memory once with all threads.
    public func measure() -> Double {
        let clock = ContinuousClock()
        let time = clock.measure {
            // A dot product with itself: two loads, one of them from the nearest cache.
            compute.pool.split(buffer.count, by: 4096) { _, begin, end in
                for first in stride(from: begin, to: end, by: 1 << 16) {
                    let part = buffer.pointer + first
                    _ = compute.kernels.dot(part, part, min(1 << 16, end - first))
                }
            }
        }
        let seconds =
            Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
        return Double(buffer.count * MemoryLayout<Float>.stride) / seconds
    }
}
