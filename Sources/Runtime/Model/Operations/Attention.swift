package import LorikeetQuant
import QuantKernels

/// Rows of one sequence within a batch, and the keys and values they attend to.
///
/// A training row attends to itself alone (`past` 0, keys and values computed in the same pass); a
/// sequence that is being generated attends to its cache, which holds the new rows already.
package struct AttentionSpan {
    /// The span's first row in the batch.
    package var start: Int
    /// How many rows it has.
    package var count: Int
    /// How many positions precede its first row.
    package var past: Int
    /// Rotated keys [past + count, keyValueHeads · headSize].
    package var keys: UnsafePointer<Float>
    /// Values [past + count, keyValueHeads · headSize].
    package var values: UnsafePointer<Float>

    /// Creates a span.
    package init(
        start: Int, count: Int, past: Int, keys: UnsafePointer<Float>,
        values: UnsafePointer<Float>
    ) {
        self.start = start
        self.count = count
        self.past = past
        self.keys = keys
        self.values = values
    }
}

/// Causal attention with grouped keys and values (Ainslie and others, 2023).
///
/// Query head h reads key head h / (heads / keyValueHeads). Probabilities are never kept: the backward
/// pass computes them again, a tile of queries at a time.
package struct Attention: Sendable {
    /// Query heads.
    package let heads: Int
    /// Key and value heads.
    package let keyValueHeads: Int
    /// Width of a head.
    package let headSize: Int
    /// How queries weigh positions.
    package let scores: AttentionScores

    // 64 queries × 512 keys of scores are 128 KiB: a tile and its gradient stay in the second-level
    // cache, and the products are tall enough to run at full speed.
    private static let tile = 64

    /// Creates the operation.
    ///
    /// - scores: nil for all positions, scaled by 1 / √headSize.
    package init(
        heads: Int, keyValueHeads: Int, headSize: Int, scores: AttentionScores? = nil
    ) {
        precondition(heads % keyValueHeads == 0, "\(heads) heads over \(keyValueHeads)")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headSize = headSize
        self.scores = scores ?? AttentionScores(scale: 1 / Float(headSize).squareRoot())
    }

    private var queryWidth: Int { heads * headSize }
    private var keyWidth: Int { keyValueHeads * headSize }

    /// Scores of one thread: two tiles (probabilities and their gradients) over `keys` keys, and one of
    /// capped scores where there is a cap.
    package static func scratchCount(keys: Int, capped: Bool = false) -> Int {
        (capped ? 3 : 2) * tile * keys
    }

    /// Bytes of one thread's scores.
    package static func memory(keys: Int, capped: Bool = false) -> Int {
        Buffer<Float>.memory(scratchCount(keys: keys, capped: capped))
    }

    /// oᵢ = Σⱼ pᵢⱼ vⱼ, pᵢ = softmax(sᵢⱼ) over the j ≤ past + i in its window, sᵢⱼ = scale qᵢ · kⱼ,
    /// capped.
    ///
    /// - q: rotated queries [rows, heads · headSize]
    /// - o: [rows, heads · headSize]
    /// - scratch: one a thread, `scratchCount(keys:)` of the longest span.
    package func forward(
        _ spans: [AttentionSpan], q: UnsafePointer<Float>, into o: UnsafeMutablePointer<Float>,
        scratch: [Buffer<Float>], on compute: Compute
    ) {
        compute.pool.run(pieces: spans.count * heads) { thread, item in
            let (span, head) = (spans[item / heads], item % heads)
            let scores = scratch[thread].pointer
            if span.count == 1, !compute.isBatchInvariant {
                attendOne(
                    span, head: head, q: q, into: o, scores: scores, thread: thread, on: compute)
            } else {
                for tile in tiles(of: span) {
                    attend(
                        span, tile, head: head, q: q, into: o, scores: scores, thread: thread,
                        on: compute)
                }
            }
        }
    }

    /// From pᵢ recomputed and dpᵢⱼ = doᵢ · vⱼ: dsᵢⱼ = scale pᵢⱼ (dpᵢⱼ − Σₗ pᵢₗ dpᵢₗ), times
    /// 1 − (sᵢⱼ / cap)² where there is a cap, then dqᵢ = Σⱼ dsᵢⱼ kⱼ, dkⱼ += Σᵢ dsᵢⱼ qᵢ, dvⱼ += Σᵢ pᵢⱼ doᵢ.
    ///
    /// - spans: whole rows (`past` 0) whose keys and values lie at their rows in the batch.
    /// - dOut: do [rows, heads · headSize]
    /// - q: [rows, heads · headSize]; `dq` likewise, and may be `dOut`'s neighbour but not itself.
    /// - dk: [rows, keyValueHeads · headSize], overwritten; `dv` likewise.
    package func backward(
        _ spans: [AttentionSpan], dOut: UnsafePointer<Float>, q: UnsafePointer<Float>,
        dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>,
        dv: UnsafeMutablePointer<Float>, scratch: [Buffer<Float>], on compute: Compute
    ) {
        // A group of query heads adds into one key head: the group is one item, so that no two
        // threads add into the same place and the order of the sums is fixed.
        compute.pool.run(pieces: spans.count * keyValueHeads) { thread, item in
            let (span, group) = (spans[item / keyValueHeads], item % keyValueHeads)
            precondition(span.past == 0, "gradients flow through whole rows")
            for row in span.start..<span.start + span.count {
                let offset = row * keyWidth + group * headSize
                (dk + offset).update(repeating: 0, count: headSize)
                (dv + offset).update(repeating: 0, count: headSize)
            }
            let perGroup = heads / keyValueHeads
            for head in group * perGroup..<(group + 1) * perGroup {
                for tile in tiles(of: span) {
                    differentiate(
                        span, tile, head: head, dOut: dOut, q: q, dq: dq, dk: dk, dv: dv,
                        scratch: scratch[thread].pointer, thread: thread, on: compute)
                }
            }
        }
    }

    private func tiles(of span: AttentionSpan) -> [Range<Int>] {
        stride(from: 0, to: span.count, by: Self.tile).map {
            $0..<min($0 + Self.tile, span.count)
        }
    }

    private func keyOffset(_ head: Int) -> Int { head / (heads / keyValueHeads) * headSize }

    // A single query: no product is tall enough for tiles, and its sums may be in another order.
    private func attendOne(
        _ span: AttentionSpan, head: Int, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, scores p: UnsafeMutablePointer<Float>, thread: Int,
        on compute: Compute
    ) {
        let q = q + span.start * queryWidth + head * headSize
        let o = o + span.start * queryWidth + head * headSize
        let (k, v) = (span.keys + keyOffset(head), span.values + keyOffset(head))
        let kernels = compute.kernels
        let first = scores.first(for: span.past)
        for j in first...span.past { p[j] = kernels.dot(q, k + j * keyWidth, headSize) }
        weigh(p + first, span.past + 1 - first, on: compute)
        o.update(repeating: 0, count: headSize)
        for j in first...span.past { kernels.axpy(p[j], v + j * keyWidth, headSize, o) }
    }

    // Products q · k become probabilities; the scores' caps are kept at `capped` if it is given.
    private func weigh(
        _ s: UnsafeMutablePointer<Float>, _ count: Int,
        keeping capped: UnsafeMutablePointer<Float>? = nil, on compute: Compute
    ) {
        guard let cap = scores.cap else {
            _ = compute.kernels.softmax(s, count, scores.scale)
            return
        }
        compute.kernels.soft_cap(s, count, scores.scale, cap)
        capped?.update(from: s, count: count)
        _ = compute.kernels.softmax(s, count, 1)
    }

    // The positions that a tile's queries see.
    private func positions(_ span: AttentionSpan, _ tile: Range<Int>) -> Range<Int> {
        scores.first(for: span.past + tile.lowerBound)..<span.past + tile.upperBound
    }

    private func attend(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, scores: UnsafeMutablePointer<Float>, thread: Int,
        on compute: Compute
    ) {
        let positions = positions(span, tile)
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        probabilities(span, tile, head: head, q: q, into: scores, thread: thread, on: compute)
        DenseProduct.multiply(
            rows: tile.count, columns: headSize, inner: positions.count, scores,
            lda: positions.count,
            span.values + positions.lowerBound * keyWidth + keyOffset(head), ldb: keyWidth,
            into: o + offset, ldc: queryWidth, thread: thread, on: compute)
    }

    // P [tile, the tile's positions]; zero for those that a query does not see.
    private func probabilities(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, q: UnsafePointer<Float>,
        into p: UnsafeMutablePointer<Float>, keeping capped: UnsafeMutablePointer<Float>? = nil,
        thread: Int, on compute: Compute
    ) {
        let positions = positions(span, tile)
        let (first, keys) = (positions.lowerBound, positions.count)
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        DenseProduct.multiply(
            rows: tile.count, columns: keys, inner: headSize, q + offset, lda: queryWidth,
            span.keys + first * keyWidth + keyOffset(head), .transposed, ldb: keyWidth, into: p,
            ldc: keys, thread: thread, on: compute)
        for i in tile {
            let place = (i - tile.lowerBound) * keys
            let row = p + place
            let begin = scores.first(for: span.past + i) - first
            let end = span.past + i + 1 - first
            row.update(repeating: 0, count: begin)
            weigh(
                row + begin, end - begin, keeping: capped.map { $0 + place + begin }, on: compute)
            (row + end).update(repeating: 0, count: keys - end)
        }
    }

    private func differentiate(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, dOut: UnsafePointer<Float>,
        q: UnsafePointer<Float>, dq: UnsafeMutablePointer<Float>,
        dk: UnsafeMutablePointer<Float>, dv: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>, thread: Int, on compute: Compute
    ) {
        let positions = positions(span, tile)
        let keys = positions.count
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        let keyOffset = positions.lowerBound * keyWidth + keyOffset(head)
        let gradientOffset = span.start * keyWidth + keyOffset
        let p = scratch  // [tile, keys]
        let ds = scratch + tile.count * keys  // [tile, keys]
        let capped = scores.cap.map { _ in scratch + 2 * tile.count * keys }  // [tile, keys]
        // Scores that no query sees are not written: any finite number does, times zero.
        capped?.update(repeating: 0, count: tile.count * keys)
        probabilities(
            span, tile, head: head, q: q, into: p, keeping: capped, thread: thread, on: compute)
        DenseProduct.multiply(
            rows: keys, columns: headSize, inner: tile.count, p, .transposed, lda: keys,
            dOut + offset, ldb: queryWidth, accumulate: true, into: dv + gradientOffset,
            ldc: keyWidth, thread: thread,
            on: compute)
        DenseProduct.multiply(
            rows: tile.count, columns: keys, inner: headSize, dOut + offset, lda: queryWidth,
            span.values + keyOffset, .transposed, ldb: keyWidth, into: ds, ldc: keys,
            thread: thread,
            on: compute)
        for i in 0..<tile.count {
            let (p, ds) = (p + i * keys, ds + i * keys)
            if let cap = scores.cap, let capped {
                compute.kernels.softmax_backward(p, keys, 1, ds)
                compute.kernels.soft_cap_backward(capped + i * keys, keys, scores.scale, cap, ds)
            } else {
                compute.kernels.softmax_backward(p, keys, scores.scale, ds)
            }
        }
        DenseProduct.multiply(
            rows: tile.count, columns: headSize, inner: keys, ds, lda: keys,
            span.keys + keyOffset, ldb: keyWidth, into: dq + offset, ldc: queryWidth,
            thread: thread,
            on: compute)
        DenseProduct.multiply(
            rows: keys, columns: headSize, inner: tile.count, ds, .transposed, lda: keys,
            q + offset, ldb: queryWidth, accumulate: true, into: dk + gradientOffset, ldc: keyWidth,
            thread: thread,
            on: compute)
    }
}
