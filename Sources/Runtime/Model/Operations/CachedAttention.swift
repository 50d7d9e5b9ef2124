import LorikeetQuant
import QuantKernels

/// Causal attention over caches of halves: what generation streams once a step.
///
/// The query heads of a group read each key and value together. A single query's positions are divided
/// into parts of fixed length, so that threads share a long cache and the result does not depend on
/// how many they are.
package final class CachedAttention {
    /// New rows of one sequence.
    struct Span {
        /// The first row in the batch.
        var start: Int
        /// How many rows.
        var count: Int
        /// How many positions precede them.
        var past: Int
        /// The cache of the block, the new rows in it.
        var kv: quant_kv
    }

    private let heads: Int
    private let keyValueHeads: Int
    private let headSize: Int

    // Rows of a prompt that one call attends for.
    private static let tile = 64
    // Positions of a part: long enough that merging is cheap, short enough to divide.
    private static let part = 256

    // A single query's parts: o [parts, heads · headSize], and [keyValueHeads, parts, group] each.
    private var outputs = Buffer<Float>(0)
    private var tops = Buffer<Float>(0)
    private var sums = Buffer<Float>(0)
    // Of a tile of rows, one a thread [tile, group].
    private let tileTops: [Buffer<Float>]
    private let tileSums: [Buffer<Float>]

    /// Allocates scratch for a pass on `compute`.
    init(_ configuration: ModelConfiguration, on compute: Compute) {
        heads = configuration.headCount
        keyValueHeads = configuration.keyValueHeadCount
        headSize = configuration.headSize
        let queries = Self.queries(configuration)
        tileTops = (0..<compute.pool.count).map { _ in Buffer(queries) }
        tileSums = tileTops.map { _ in Buffer(queries) }
    }

    // Query heads that read one key head, for each row of a tile.
    private static func queries(_ configuration: ModelConfiguration) -> Int {
        tile * configuration.headCount / configuration.keyValueHeadCount
    }

    /// Bytes for so many threads, as long as no single query is attended for.
    static func memory(_ configuration: ModelConfiguration, threads: Int) -> Int {
        2 * threads * Buffer<Float>.memory(queries(configuration))
    }

    private var width: Int { heads * headSize }
    private var group: Int { heads / keyValueHeads }
    private var scale: Float { 1 / Float(headSize).squareRoot() }

    /// oᵢ = Σⱼ pᵢⱼ vⱼ, pᵢ = softmax(qᵢ · kⱼ / √headSize) over j ≤ past + i.
    ///
    /// - q: rotated queries [rows, heads · headSize]
    /// - o: [rows, heads · headSize]
    func forward(
        _ span: Span, q: UnsafePointer<Float>, into o: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        let (q, o) = (q + span.start * width, o + span.start * width)
        if span.count == 1 {
            attendOne(span, q: q, into: o, on: compute)
        } else {
            attendTiles(span, q: q, into: o, on: compute)
        }
    }

    private func attendTiles(
        _ span: Span, q: UnsafePointer<Float>, into o: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        let tiles = (span.count + Self.tile - 1) / Self.tile
        let kernels = compute.kernels
        compute.pool.run(pieces: tiles * keyValueHeads) { thread, item in
            // The last tiles see the most: first, so that none is left over at the end.
            let (tile, head) = (tiles - 1 - item / keyValueHeads, item % keyValueHeads)
            let first = tile * Self.tile
            let rows = min(Self.tile, span.count - first)
            let offset = first * width + head * group * headSize
            let (top, sum) = (tileTops[thread].pointer, tileSums[thread].pointer)
            withUnsafePointer(to: span.kv) { kv in
                kernels.attend(
                    kv, head, q + offset, width, rows, group, span.past + first, 0,
                    span.past + first + rows, scale, o + offset, width, top, sum,
                    compute.scratch(thread))
            }
            kernels.attend_merge(
                1, rows, group, headSize, o + offset, width, top, sum, o + offset, width)
        }
    }

    private func attendOne(
        _ span: Span, q: UnsafePointer<Float>, into o: UnsafeMutablePointer<Float>,
        on compute: Compute
    ) {
        let positions = span.past + 1
        let parts = (positions + Self.part - 1) / Self.part
        reserve(parts)
        let kernels = compute.kernels
        compute.pool.run(pieces: parts * keyValueHeads) { thread, item in
            let (part, head) = (item / keyValueHeads, item % keyValueHeads)
            let offset = head * group * headSize
            let statistics = (head * parts + part) * group
            let output = parts == 1 ? o : outputs.pointer + part * width
            withUnsafePointer(to: span.kv) { kv in
                kernels.attend(
                    kv, head, q + offset, width, 1, group, span.past, part * Self.part,
                    min((part + 1) * Self.part, positions), scale, output + offset, width,
                    tops.pointer + statistics, sums.pointer + statistics, compute.scratch(thread))
            }
        }
        // A few vectors a head: not worth a region of its own.
        let partial = parts == 1 ? o : outputs.pointer
        for head in 0..<keyValueHeads {
            let offset = head * group * headSize
            kernels.attend_merge(
                parts, 1, group, headSize, partial + offset, width,
                tops.pointer + head * parts * group, sums.pointer + head * parts * group,
                o + offset, width)
        }
    }

    private func reserve(_ parts: Int) {
        guard parts * heads > tops.count else { return }
        // Doubled, so that a growing sequence seldom asks.
        let count = 2 * parts
        outputs = Buffer(count * width)
        tops = Buffer(count * heads)
        sums = Buffer(count * heads)
    }
}
