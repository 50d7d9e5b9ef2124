import QuantKernels

/// Memory for activations as the integer products read them.
///
/// A pass owns one and uses it for every product in turn; it grows to the largest.
public final class Activations: @unchecked Sendable {
    // Unchecked: one pass at a time uses it, and its threads divide it among them.

    // A few rows are prepared sooner by every thread for itself than by one for all, who would wait.
    private static let fewRows = 4

    private let shared = Storage()
    private let own: [Storage]

    /// Memory for a pass on `compute`.
    public init(on compute: Compute) { own = (0..<compute.pool.count).map { _ in Storage() } }

    /// Quantizes X and calls `body` on every thread with what it reads.
    ///
    /// - x: [count, columns]
    /// - units: pieces of work, divided among the threads as `ThreadPool.split` does.
    /// - body: gets the thread, its pieces, and the activations.
    func withPrepared(
        _ x: UnsafePointer<Float>, count: Int, columns: Int, units: Int, on compute: Compute,
        _ body: (_ thread: Int, _ begin: Int, _ end: Int, UnsafePointer<quant_activations>) -> Void
    ) {
        let few = count <= Self.fewRows
        let groups = (count + Int(QUANT_GROUP) - 1) / Int(QUANT_GROUP)
        let precision = compute.precision == .int8 ? QUANT_INT8 : QUANT_INT16
        for storage in few ? own : [shared] {
            storage.reserve(count: count, columns: columns, precision: precision)
        }
        if !few {
            compute.pool.split(groups) { _, begin, end in
                compute.kernels.prepare(x, columns, begin, end, shared.raw)
            }
        }
        compute.pool.split(units, perThread: few ? 1 : 4) { thread, begin, end in
            let storage = few ? own[thread] : shared
            if few { compute.kernels.prepare(x, columns, 0, groups, storage.raw) }
            body(thread, begin, end, storage.raw)
        }
    }

    private final class Storage {
        let raw: UnsafeMutablePointer<quant_activations>
        private var values = Buffer<Int16>(0)
        private var scales = Buffer<Float>(0)
        private var sums = Buffer<Int32>(0)

        init() {
            raw = .allocate(capacity: 1)
            raw.initialize(to: quant_activations())
        }

        deinit { raw.deallocate() }

        func reserve(count: Int, columns: Int, precision: quant_precision) {
            let group = Int(QUANT_GROUP)
            let rows = (count + group - 1) / group * group
            let blocks = rows * ((columns + 63) / 64)
            if blocks > scales.count {
                values = Buffer(uninitialized: blocks * 64)
                scales = Buffer(uninitialized: blocks)
                sums = Buffer(uninitialized: blocks)
            }
            raw.pointee = quant_activations(
                precision: precision, rows: count, columns: columns, values: values.pointer,
                scales: scales.pointer, sums: sums.pointer)
        }
    }
}
