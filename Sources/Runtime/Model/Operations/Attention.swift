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

    // 64 queries × 512 keys of scores are 128 KiB: a tile and its gradient stay in the second-level
    // cache, and the products are tall enough to run at full speed.
    private static let tile = 64

    /// Creates the operation.
    package init(heads: Int, keyValueHeads: Int, headSize: Int) {
        precondition(heads % keyValueHeads == 0, "\(heads) heads over \(keyValueHeads)")
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headSize = headSize
    }

    private var queryWidth: Int { heads * headSize }
    private var keyWidth: Int { keyValueHeads * headSize }
    private var scale: Float { 1 / Float(headSize).squareRoot() }

    /// Scores of one thread: two tiles (probabilities and their gradients) over `keys` keys.
    package static func scratchCount(keys: Int) -> Int { 2 * tile * keys }

    /// Bytes of one thread's scores.
    package static func memory(keys: Int) -> Int { Buffer<Float>.memory(scratchCount(keys: keys)) }

    /// oᵢ = Σⱼ pᵢⱼ vⱼ, pᵢ = softmax(qᵢ · kⱼ / √headSize) over j ≤ past + i.
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

    /// From pᵢ recomputed and dpᵢⱼ = doᵢ · vⱼ: dsᵢⱼ = pᵢⱼ (dpᵢⱼ − Σₗ pᵢₗ dpᵢₗ) / √headSize, then
    /// dqᵢ = Σⱼ dsᵢⱼ kⱼ, dkⱼ += Σᵢ dsᵢⱼ qᵢ, dvⱼ += Σᵢ pᵢⱼ doᵢ.
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
        into o: UnsafeMutablePointer<Float>, scores: UnsafeMutablePointer<Float>, thread: Int,
        on compute: Compute
    ) {
        let q = q + span.start * queryWidth + head * headSize
        let o = o + span.start * queryWidth + head * headSize
        let (k, v) = (span.keys + keyOffset(head), span.values + keyOffset(head))
        let kernels = compute.kernels
        for j in 0...span.past { scores[j] = kernels.dot(q, k + j * keyWidth, headSize) }
        _ = kernels.softmax(scores, span.past + 1, scale)
        o.update(repeating: 0, count: headSize)
        for j in 0...span.past { kernels.axpy(scores[j], v + j * keyWidth, headSize, o) }
    }

    private func attend(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, q: UnsafePointer<Float>,
        into o: UnsafeMutablePointer<Float>, scores: UnsafeMutablePointer<Float>, thread: Int,
        on compute: Compute
    ) {
        let keys = span.past + tile.upperBound
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        probabilities(span, tile, head: head, q: q, into: scores, thread: thread, on: compute)
        DenseProduct.multiply(
            rows: tile.count, columns: headSize, inner: keys, scores, lda: keys,
            span.values + keyOffset(head), ldb: keyWidth, into: o + offset, ldc: queryWidth,
            thread: thread,
            on: compute)
    }

    // P [tile, past + tile's end]; zero past the diagonal.
    private func probabilities(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, q: UnsafePointer<Float>,
        into p: UnsafeMutablePointer<Float>, thread: Int, on compute: Compute
    ) {
        let keys = span.past + tile.upperBound
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        DenseProduct.multiply(
            rows: tile.count, columns: keys, inner: headSize, q + offset, lda: queryWidth,
            span.keys + keyOffset(head), .transposed, ldb: keyWidth, into: p, ldc: keys,
            thread: thread,
            on: compute)
        for i in tile {
            let row = p + (i - tile.lowerBound) * keys
            let visible = span.past + i + 1
            _ = compute.kernels.softmax(row, visible, scale)
            (row + visible).update(repeating: 0, count: keys - visible)
        }
    }

    private func differentiate(
        _ span: AttentionSpan, _ tile: Range<Int>, head: Int, dOut: UnsafePointer<Float>,
        q: UnsafePointer<Float>, dq: UnsafeMutablePointer<Float>,
        dk: UnsafeMutablePointer<Float>, dv: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>, thread: Int, on compute: Compute
    ) {
        let keys = tile.upperBound
        let offset = (span.start + tile.lowerBound) * queryWidth + head * headSize
        let keyOffset = keyOffset(head)
        let gradientOffset = span.start * keyWidth + keyOffset
        let p = scratch  // [tile, keys]
        let ds = scratch + tile.count * keys  // [tile, keys]
        probabilities(span, tile, head: head, q: q, into: p, thread: thread, on: compute)
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
            compute.kernels.softmax_backward(p + i * keys, keys, scale, ds + i * keys)
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
