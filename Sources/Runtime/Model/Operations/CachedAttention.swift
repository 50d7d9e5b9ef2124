import LorikeetQuant
import QuantKernels

/// Causal attention over caches of halves: what generation streams once a step.
///
/// The query heads of a group read each key and value together. Positions are divided into parts of fixed
/// length, whose results are merged: threads share a single query's long cache, and the result of a row does
/// not depend on how many they are, on what other sequences are in the batch, nor on which rows of its own
/// sequence run in the same pass.
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

    // A tile of a span's rows, or a part of the positions that a single row attends to.
    private struct Piece {
        let span: Int
        let number: Int
        // How many the span has, and the index of a row's first part.
        let of: Int
        let first: Int
        // The part's first position.
        let begin: Int
    }

    private var pieces: [Piece] = []
    // Single queries' parts: o [parts, heads · headSize], and of each query [keyValueHeads, parts, group].
    private var outputs = Buffer<Float>(0)
    private var tops = Buffer<Float>(0)
    private var sums = Buffer<Float>(0)
    // A tile's parts, of one thread each: o [parts, tile, group · headSize], statistics [parts, tile, group].
    private var tiles: [TileScratch]

    /// Allocates scratch for a pass on `compute`.
    init(_ configuration: ModelConfiguration, on compute: Compute) {
        heads = configuration.headCount
        keyValueHeads = configuration.keyValueHeadCount
        headSize = configuration.headSize
        tiles = (0..<compute.pool.count).map { _ in TileScratch() }
    }

    private struct TileScratch {
        var outputs = Buffer<Float>(0)
        var tops = Buffer<Float>(0)
        var sums = Buffer<Float>(0)
    }

    private var width: Int { heads * headSize }
    private var group: Int { heads / keyValueHeads }

    /// oᵢ = Σⱼ pᵢⱼ vⱼ, pᵢ = softmax(sᵢⱼ) over the j ≤ past + i in its window, as `Attention` has it.
    ///
    /// - scores: how queries weigh positions; those before all windows are not read.
    /// - q: rotated queries [rows, heads · headSize]
    /// - o: [rows, heads · headSize]
    func forward(
        _ spans: [Span], scores: AttentionScores, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        pieces.removeAll(keepingCapacity: true)
        for (index, span) in spans.enumerated() where span.count > 1 {
            // The last tiles see the most: first, so that none is left over at the end.
            let tiles = (span.count + Self.tile - 1) / Self.tile
            for tile in (0..<tiles).reversed() {
                pieces.append(Piece(span: index, number: tile, of: tiles, first: 0, begin: 0))
            }
        }
        if !pieces.isEmpty { attendTiles(spans, scores, q: q, into: o, on: compute) }
        pieces.removeAll(keepingCapacity: true)
        for (index, span) in spans.enumerated() where span.count == 1 {
            let parts = Self.parts(scores.first(for: span.past)..<span.past + 1)
            let first = pieces.count
            for part in parts {
                pieces.append(
                    Piece(
                        span: index, number: part - parts.lowerBound, of: parts.count,
                        first: first, begin: part * Self.part))
            }
        }
        attendParts(spans, scores, q: q, into: o, on: compute)
    }

    private func attendTiles(
        _ spans: [Span], _ scores: AttentionScores, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        reserveTiles(
            parts: spans.reduce(0) {
                max($0, Self.parts(scores.first(for: $1.past)..<$1.past + $1.count).count)
            })
        let (pieces, kernels, groupWidth) = (self.pieces, compute.kernels, group * headSize)
        compute.pool.run(pieces: pieces.count * keyValueHeads) { thread, item in
            let (piece, head) = (pieces[item / keyValueHeads], item % keyValueHeads)
            let span = spans[piece.span]
            let first = piece.number * Self.tile
            let rows = min(Self.tile, span.count - first)
            let offset = (span.start + first) * width + head * groupWidth
            let scratch = tiles[thread]
            let (past, end) = (span.past + first, span.past + first + rows)
            let parts = Self.parts(scores.first(for: past)..<end)
            var kernelScores = scores.kernel
            withUnsafePointer(to: span.kv) { kv in
                for (index, part) in parts.enumerated() {
                    let statistics = index * rows * group
                    kernels.attend(
                        kv, head, q + offset, width, rows, group, past, part * Self.part,
                        min((part + 1) * Self.part, end), &kernelScores,
                        scratch.outputs.pointer + index * rows * groupWidth, groupWidth,
                        scratch.tops.pointer + statistics, scratch.sums.pointer + statistics,
                        compute.scratch(thread))
                }
            }
            kernels.attend_merge(
                parts.count, rows, group, headSize, scratch.outputs.pointer, groupWidth,
                scratch.tops.pointer, scratch.sums.pointer, o + offset, width)
        }
    }

    // Those that have some of the positions.
    private static func parts(_ positions: Range<Int>) -> Range<Int> {
        positions.lowerBound / part..<(positions.upperBound + part - 1) / part
    }

    private func reserveTiles(parts: Int) {
        let queries = parts * Self.tile * group
        guard let first = tiles.first, queries > first.tops.count else { return }
        for thread in tiles.indices {
            tiles[thread] = TileScratch(
                outputs: Buffer(uninitialized: queries * headSize),
                tops: Buffer(uninitialized: queries), sums: Buffer(uninitialized: queries))
        }
    }

    private func attendParts(
        _ spans: [Span], _ scores: AttentionScores, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        reserve(pieces.count)
        let (pieces, kernels) = (self.pieces, compute.kernels)
        // A span's results, which are final where it has one part.
        func partial(_ piece: Piece) -> UnsafeMutablePointer<Float> {
            piece.of == 1
                ? o + spans[piece.span].start * width : outputs.pointer + piece.first * width
        }
        // Where the statistics of a head's first part lie.
        func statistics(_ piece: Piece, _ head: Int) -> Int {
            (piece.first * keyValueHeads + head * piece.of) * group
        }
        compute.pool.run(pieces: pieces.count * keyValueHeads) { thread, item in
            let (piece, head) = (pieces[item / keyValueHeads], item % keyValueHeads)
            let span = spans[piece.span]
            let offset = head * group * headSize
            var kernelScores = scores.kernel
            let place = statistics(piece, head) + piece.number * group
            withUnsafePointer(to: span.kv) { kv in
                kernels.attend(
                    kv, head, q + span.start * width + offset, width, 1, group, span.past,
                    piece.begin, min(piece.begin + Self.part, span.past + 1), &kernelScores,
                    partial(piece) + piece.number * width + offset, width, tops.pointer + place,
                    sums.pointer + place, compute.scratch(thread))
            }
        }
        // A few vectors a head: not worth a region of its own.
        for piece in pieces where piece.number == 0 {
            let output = o + spans[piece.span].start * width
            for head in 0..<keyValueHeads {
                let (offset, place) = (head * group * headSize, statistics(piece, head))
                kernels.attend_merge(
                    piece.of, 1, group, headSize, partial(piece) + offset, width,
                    tops.pointer + place, sums.pointer + place, output + offset, width)
            }
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
