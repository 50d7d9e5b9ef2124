public import LorikeetQuant
package import QuantKernels

/// The rotated keys and the values of one sequence, of every block.
///
/// They lie in pages of a pool: the sequence takes one at a time as it grows, and may begin with pages of
/// another that begins alike.
public final class KVCache: @unchecked Sendable {
    // Unchecked: a cache belongs to one sequence, and one pass at a time writes to it.

    /// The longest sequence it may hold.
    public let capacity: Int
    /// How many positions it holds.
    public private(set) var count = 0
    /// Where its positions lie, `KVPool.positions` in each.
    public private(set) var pages: [KVPage] = []

    private let pool: KVPool
    // Where the pages begin: what the kernels read.
    private var table = Buffer<Int>(0)
    // A block's keys and values in one piece, where they are floats [reserved, heads · headSize].
    private var gathered: (keys: Buffer<Float>, values: Buffer<Float>)?

    /// An empty cache for a sequence of at most `capacity` tokens.
    public init(in pool: KVPool, capacity: Int) {
        self.pool = pool
        self.capacity = capacity
    }

    /// An empty cache with a pool of its own (at most the model's own positions by default).
    public convenience init(
        _ configuration: ModelConfiguration, capacity: Int? = nil, precision: Precision
    ) {
        self.init(
            in: KVPool(configuration, precision: precision),
            capacity: capacity ?? configuration.maximumPositions)
    }

    private var layout: KVLayout { pool.layout }

    /// How many positions it has memory for.
    package var reserved: Int { pages.count * KVPool.positions }

    /// Bytes held now, of which others may hold some too.
    public var memory: Int { pages.count * pool.pageBytes }

    /// Bytes of so many positions.
    func memory(positions: Int) -> Int { positions * layout.positionBytes }

    /// Forgets what follows the first `count` positions.
    public func truncate(to count: Int) {
        precondition(count >= 0 && count <= self.count, "\(count) of \(self.count) positions")
        self.count = count
    }

    /// Begins with the positions of `shared`, whole pages that are never written to again.
    public func begin(with shared: [KVPage]) {
        precondition(pages.isEmpty, "a cache that has begun")
        for page in shared { append(page) }
        count = reserved
    }

    /// How many pages the pool must have for `additional` positions.
    public func pagesNeeded(for additional: Int) -> Int {
        let missing = count + additional - reserved
        return missing > 0 ? (missing + KVPool.positions - 1) / KVPool.positions : 0
    }

    /// Makes room for `additional` positions, for which the pool must have pages.
    package func reserve(_ additional: Int) {
        precondition(
            count + additional <= capacity,
            "\(count + additional) positions in a cache of \(capacity)")
        for _ in 0..<pagesNeeded(for: additional) {
            guard let page = pool.makePage() else {
                preconditionFailure("a pool of \(pool.limit ?? 0) pages is used up")
            }
            append(page)
        }
    }

    private func append(_ page: KVPage) {
        if pages.count == table.count {
            let grown = Buffer<Int>(max(2 * table.count, 8))
            grown.pointer.update(from: table.pointer, count: table.count)
            table = grown
        }
        table[pages.count] = Int(bitPattern: page.start)
        pages.append(page)
    }

    /// Writes keys and values [count, keyValueHeads · headSize] behind what is there; `advance`
    /// makes them count, once every block has written its own.
    package func write(
        layer: Int, keys newKeys: UnsafePointer<Float>, values newValues: UnsafePointer<Float>,
        count: Int, on compute: Compute
    ) {
        precondition(self.count + count <= reserved, "a cache written past its room")
        let width = layout.width
        if var kv = halves(layer: layer) {
            compute.kernels.kv_write(&kv, newKeys, width, newValues, width, self.count, count)
            return
        }
        forEachPart(of: self.count..<self.count + count) { page, begin, positions in
            let start = floats(of: page) + begin * width
            let (offset, length) = (
                (positions.lowerBound - self.count) * width, positions.count * width
            )
            (start + layout.keys(layer)).update(from: newKeys + offset, count: length)
            (start + layout.values(layer)).update(from: newValues + offset, count: length)
        }
    }

    /// Counts `additional` positions in.
    package func advance(by additional: Int) { count += additional }

    /// A block's keys and values [reserved, keyValueHeads · headSize] as floats in one piece, nil where they
    /// are halves; valid until the next call.
    ///
    /// - written: positions behind what counts that were written already.
    package func floats(
        layer: Int, written: Int
    ) -> (keys: UnsafePointer<Float>, values: UnsafePointer<Float>)? {
        guard !layout.isHalves else { return nil }
        let width = layout.width
        if gathered?.keys.count ?? 0 < reserved * width {
            gathered = (
                Buffer(uninitialized: reserved * width), Buffer(uninitialized: reserved * width)
            )
        }
        guard let (keys, values) = gathered else { return nil }
        forEachPart(of: 0..<count + written) { page, begin, positions in
            let start = floats(of: page) + begin * width
            let (offset, length) = (positions.lowerBound * width, positions.count * width)
            (keys.pointer + offset).update(from: start + layout.keys(layer), count: length)
            (values.pointer + offset).update(from: start + layout.values(layer), count: length)
        }
        return (UnsafePointer(keys.pointer), UnsafePointer(values.pointer))
    }

    /// A block's keys and values as halves, nil where they are floats; valid until the next `reserve`.
    package func halves(layer: Int) -> quant_kv? {
        guard layout.isHalves else { return nil }
        let pages = UnsafeRawPointer(table.pointer)
            .assumingMemoryBound(to: UnsafeMutablePointer<UInt16>?.self)
        return quant_kv(
            pages: pages, keys: layout.keys(layer), values: layout.values(layer),
            kv_heads: layout.heads, head_size: layout.headSize)
    }

    private func floats(of page: Int) -> UnsafeMutablePointer<Float> {
        pages[page].start.assumingMemoryBound(to: Float.self)
    }

    // Calls `body` with each page's share of `positions`, and where in the page it begins.
    private func forEachPart(
        of positions: Range<Int>,
        _ body: (_ page: Int, _ begin: Int, _ positions: Range<Int>) -> Void
    ) {
        var begin = positions.lowerBound
        while begin < positions.upperBound {
            let page = begin / KVPool.positions
            let end = min((page + 1) * KVPool.positions, positions.upperBound)
            body(page, begin % KVPool.positions, begin..<end)
            begin = end
        }
    }
}
