import QuantKernels

/// Memory for activations as the integer products read them.
///
/// A pass owns one and uses it for every product in turn; it grows to the largest.
public final class Activations: @unchecked Sendable {
    // Unchecked: one pass at a time uses it, and its threads divide it among them.

    // A few rows are prepared sooner by every thread for itself than by one for all, who would wait.
    private static let fewRows = 4

    private let shared = Storage()
    private let prepared = Gate()
    private let own: [Storage]

    /// Bytes for products of up to `count` rows, many of them, over up to `columns` columns.
    public static func memory(count: Int, columns: Int) -> Int {
        let blocks = Storage.blocks(count: count, columns: columns)
        return Buffer<Int16>.memory(blocks * 64) + Buffer<Float>.memory(blocks)
            + Buffer<Int32>.memory(blocks)
    }

    /// Memory for a pass on `compute`.
    public init(on compute: Compute) { own = (0..<compute.pool.count).map { _ in Storage() } }

    /// From so many rows on a product decodes panels of 64 outputs, once for all rows of a piece.
    static let manyRows = 48
    // Rows that make the decoding of a panel cheap.
    private static let rowsOfPart = 256

    /// A part of a product: units of outputs, for rows of X.
    struct Piece {
        /// Who computes it.
        let thread: Int
        /// Which outputs.
        let units: Range<Int>
        /// Which rows of X: `prepared` begins with the first of them.
        let rows: Range<Int>
        /// These rows in integers.
        let prepared: UnsafePointer<quant_activations>
    }

    /// Quantizes X and calls `body` for every piece of a product with it, all in one region.
    ///
    /// - x: [count, columns]
    /// - units: of outputs, in a size that the caller chooses.
    /// - lead: how many pieces of `first` begin the region.
    func withPrepared(
        _ x: UnsafePointer<Float>, count: Int, columns: Int, units: Int, on compute: Compute,
        after lead: Int = 0, first: (_ thread: Int, _ piece: Int) -> Void = { _, _ in },
        _ body: (Piece) -> Void
    ) {
        let groups = (count + Int(QUANT_GROUP) - 1) / Int(QUANT_GROUP)
        let precision = compute.precision == .int8 ? QUANT_INT8 : QUANT_INT16
        let few = count <= Self.fewRows
        for storage in few ? own : [shared] {
            storage.reserve(count: count, columns: columns, precision: precision)
        }
        if few {
            compute.pool.split(units, perThread: 1, after: lead, first: first) {
                thread, begin, end in
                let prepared = own[thread].raw
                compute.kernels.prepare(x, columns, 0, groups, prepared)
                body(
                    Piece(
                        thread: thread, units: begin..<end, rows: 0..<count, prepared: prepared))
            }
            return
        }
        prepared.close(until: groups)
        func begin(_ thread: Int, _ piece: Int) {
            guard piece < groups else { return first(thread, piece - groups) }
            compute.kernels.prepare(x, columns, piece, piece + 1, shared.raw)
            prepared.arrive()
        }
        if count < Self.manyRows {
            compute.pool.split(units, after: groups + lead, first: begin) { thread, begin, end in
                prepared.wait()
                body(
                    Piece(
                        thread: thread, units: begin..<end, rows: 0..<count, prepared: shared.raw))
            }
            return
        }
        divide(
            units: units, groups: groups, count: count, on: compute, after: groups + lead,
            first: begin, body)
    }

    // A unit is a panel, which costs its decoding: each is one thread's. What the number of threads does
    // not divide is divided by rows instead (9 panels for 2 threads would be 5 and 4).
    private func divide(
        units: Int, groups: Int, count: Int, on compute: Compute, after lead: Int,
        first: (_ thread: Int, _ piece: Int) -> Void, _ body: (Piece) -> Void
    ) {
        let threads = compute.pool.count
        let whole = units / threads * threads
        let parts = max(1, min(threads, count / Self.rowsOfPart))
        compute.pool.run(pieces: lead + whole + (units - whole) * parts) { thread, claimed in
            guard claimed >= lead else { return first(thread, claimed) }
            prepared.wait()
            let piece = claimed - lead
            let rest = max(piece - whole, 0)
            let unit = piece < whole ? piece : whole + rest / parts
            let part = rest % parts
            let begin = piece < whole ? 0 : groups * part / parts * Int(QUANT_GROUP)
            let end = piece < whole ? count : groups * (part + 1) / parts * Int(QUANT_GROUP)
            let rows = begin..<min(end, count)
            withUnsafePointer(to: shared.rows(rows)) {
                body(Piece(thread: thread, units: unit..<unit + 1, rows: rows, prepared: $0))
            }
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

        /// A view of some of the rows, the first of which begins a group.
        func rows(_ rows: Range<Int>) -> quant_activations {
            var view = raw.pointee
            let blocks = rows.lowerBound * ((view.columns + 63) / 64)
            view.rows = rows.count
            view.values += blocks * 64 * (view.precision == QUANT_INT8 ? 1 : 2)
            view.scales += blocks
            view.sums += blocks
            return view
        }

        /// Blocks of 64 columns in so many rows, rounded up to whole groups.
        static func blocks(count: Int, columns: Int) -> Int {
            let group = Int(QUANT_GROUP)
            return (count + group - 1) / group * group * ((columns + 63) / 64)
        }

        func reserve(count: Int, columns: Int, precision: quant_precision) {
            let blocks = Self.blocks(count: count, columns: columns)
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
