package import LorikeetQuant
import QuantKernels

/// Attention of every token to all of its sequence, with DeBERTa's terms of relative position where the model
/// has some ("disentangled attention": He et al., "DeBERTa", 2021, equation 4).
///
///     oᵢ = Σⱼ pᵢⱼ vⱼ,  pᵢ = softmax(sᵢ),  sᵢⱼ = (qᵢ · kⱼ + qᵢ · K[δ] + kⱼ · Q[δ]) / √(f d)
///
/// where d is a head's width, f the number of products (1 or 3), and δ the row of the distance i − j in K and Q,
/// the keys and queries of positions. Probabilities are never kept: the backward pass computes them again, a
/// tile of queries at a time.
package struct BidirectionalAttention: Sendable {
    /// Heads.
    package let heads: Int
    /// Width of a head.
    package let headSize: Int

    /// Creates the operation.
    package init(heads: Int, headSize: Int) {
        self.heads = heads
        self.headSize = headSize
    }

    /// Keys and queries of relative positions, and which of them stands for a distance.
    package struct Positions {
        /// K and Q [count, heads · headSize].
        let keys: UnsafePointer<Float>
        let queries: UnsafePointer<Float>
        let count: Int
        // δ of the distances longest − 1 down to 1 − longest.
        private let rows: [Int32]
        private let longest: Int

        /// - keys: those of the rows of `scheme` for sequences up to `longest`; `queries` likewise.
        /// - longest: tokens of the longest sequence.
        package init(
            keys: UnsafePointer<Float>, queries: UnsafePointer<Float>, scheme: RelativePositions,
            longest: Int
        ) {
            let used = scheme.rows(forLength: longest)
            (self.keys, self.queries, count) = (keys, queries, used.count)
            self.longest = longest
            rows = (1 - longest..<longest).map {
                Int32(scheme.row(of: -$0) - used.lowerBound)
            }
        }

        /// δ of query `i` and the keys from 0 on, without bounds checks: one is read for every score.
        fileprivate func withRows(
            of i: Int, _ body: (UnsafePointer<Int32>) -> Void
        ) {
            rows.withUnsafeBufferPointer { rows in
                if let base = rows.baseAddress { body(base + longest - 1 - i) }
            }
        }
    }

    /// Where the gradients of K and Q go, [count, heads · headSize] each, overwritten.
    package struct PositionGradients {
        let keys: UnsafeMutablePointer<Float>
        let queries: UnsafeMutablePointer<Float>

        /// Wraps the pointers.
        package init(
            keys: UnsafeMutablePointer<Float>, queries: UnsafeMutablePointer<Float>
        ) {
            (self.keys, self.queries) = (keys, queries)
        }
    }

    // 64 queries × 512 keys of scores are 128 KiB, as in causal attention.
    private static let tile = 64

    private var width: Int { heads * headSize }

    private func scale(_ positions: Positions?) -> Float {
        1 / Float(headSize * (positions == nil ? 1 : 3)).squareRoot()
    }

    /// Floats that a thread works with.
    ///
    /// - positions: how many keys of positions there are; 0 without.
    package static func scratchCount(longest: Int, positions: Int) -> Int {
        2 * (tile * longest + tile * positions + longest * positions)
    }

    /// One thread's scores, and their gradients.
    private struct Scratch {
        // [tile, length], [tile, positions] and [length, positions]
        let scores: UnsafeMutablePointer<Float>
        let queryTerms: UnsafeMutablePointer<Float>
        let keyTerms: UnsafeMutablePointer<Float>
        let dScores: UnsafeMutablePointer<Float>
        let dQueryTerms: UnsafeMutablePointer<Float>
        let dKeyTerms: UnsafeMutablePointer<Float>

        init(_ buffer: Buffer<Float>, length: Int, positions: Int) {
            var next = buffer.pointer
            func take(_ count: Int) -> UnsafeMutablePointer<Float> {
                defer { next += count }
                return next
            }
            let tile = BidirectionalAttention.tile
            (scores, dScores) = (take(tile * length), take(tile * length))
            (queryTerms, dQueryTerms) = (take(tile * positions), take(tile * positions))
            (keyTerms, dKeyTerms) = (take(length * positions), take(length * positions))
        }
    }

    /// One head of one sequence.
    private struct Head {
        let index: Int
        /// Its first element in a matrix [rows, heads · headSize].
        let offset: Int
        /// Its first column.
        let column: Int
        let count: Int
        let scratch: Scratch
        let thread: Int

        var tiles: [Range<Int>] {
            stride(from: 0, to: count, by: BidirectionalAttention.tile).map {
                $0..<min($0 + BidirectionalAttention.tile, count)
            }
        }
    }

    private func head(
        _ index: Int, of sequence: Range<Int>, _ scratch: [Buffer<Float>], thread: Int,
        positions: Positions?
    ) -> Head {
        Head(
            index: index, offset: sequence.lowerBound * width + index * headSize,
            column: index * headSize, count: sequence.count,
            scratch: Scratch(
                scratch[thread], length: sequence.count, positions: positions?.count ?? 0),
            thread: thread)
    }

    /// The equation above.
    ///
    /// - sequences: the rows of each.
    /// - q: [rows, heads · headSize]; `k`, `v` and `o` likewise.
    /// - scratch: one a thread, of `scratchCount`.
    package func forward(
        _ sequences: [Range<Int>], q: UnsafePointer<Float>, k: UnsafePointer<Float>,
        v: UnsafePointer<Float>, positions: Positions?, into o: UnsafeMutablePointer<Float>,
        scratch: [Buffer<Float>], on compute: Compute
    ) {
        compute.pool.run(pieces: sequences.count * heads) { thread, item in
            let head = head(
                item % heads, of: sequences[item / heads], scratch, thread: thread,
                positions: positions)
            keyTerms(of: head, k: k, positions, on: compute)
            for tile in head.tiles {
                probabilities(head, tile, q: q, k: k, positions, on: compute)
                DenseProduct.multiply(
                    rows: tile.count, columns: headSize, inner: head.count, head.scratch.scores,
                    lda: head.count, v + head.offset, ldb: width,
                    into: o + head.offset + tile.lowerBound * width, ldc: width, thread: thread,
                    on: compute)
            }
        }
    }

    /// The gradients of all that the equation reads, from p recomputed.
    ///
    ///     dpᵢⱼ = doᵢ · vⱼ,  dsᵢⱼ = pᵢⱼ (dpᵢⱼ − Σₗ pᵢₗ dpᵢₗ) / √(f d)
    ///     dqᵢ = Σⱼ dsᵢⱼ (kⱼ + K[δ])      dK[δ] = Σ dsᵢⱼ qᵢ over all i, j of this δ
    ///     dkⱼ = Σᵢ dsᵢⱼ (qᵢ + Q[δ])      dQ[δ] = Σ dsᵢⱼ kⱼ
    ///     dvⱼ = Σᵢ pᵢⱼ doᵢ
    ///
    /// - dOut: do [rows, heads · headSize]
    /// - dq: [rows, heads · headSize], overwritten; `dk` and `dv` likewise.
    /// - dPositions: dK and dQ, where there are positions.
    package func backward(
        _ sequences: [Range<Int>], dOut: UnsafePointer<Float>, q: UnsafePointer<Float>,
        k: UnsafePointer<Float>, v: UnsafePointer<Float>, positions: Positions?,
        dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>,
        dv: UnsafeMutablePointer<Float>, dPositions: PositionGradients?,
        scratch: [Buffer<Float>], on compute: Compute
    ) {
        func differentiate(_ index: Int, _ sequence: Range<Int>, _ thread: Int) {
            let head = head(index, of: sequence, scratch, thread: thread, positions: positions)
            keyTerms(of: head, k: k, positions, on: compute)
            for row in 0..<head.count {
                (dk + head.offset + row * width).update(repeating: 0, count: headSize)
                (dv + head.offset + row * width).update(repeating: 0, count: headSize)
            }
            if let positions {
                head.scratch.dKeyTerms.update(
                    repeating: 0, count: head.count * positions.count)
            }
            for tile in head.tiles {
                probabilities(head, tile, q: q, k: k, positions, on: compute)
                backward(
                    head, tile, dOut: dOut, q: q, k: k, v: v, positions, dq: dq, dk: dk, dv: dv,
                    dPositions, on: compute)
            }
            if let positions, let dPositions {
                backward(ofKeyTerms: head, k: k, positions, dk: dk, dPositions, on: compute)
            }
        }
        guard let positions, let dPositions else {
            compute.pool.run(pieces: sequences.count * heads) { thread, item in
                differentiate(item % heads, sequences[item / heads], thread)
            }
            return
        }
        // All sequences add to the same positions: a head is one thread's, and sums have one order.
        compute.pool.run(pieces: heads) { thread, index in
            for row in 0..<positions.count {
                let offset = row * width + index * headSize
                (dPositions.keys + offset).update(repeating: 0, count: headSize)
                (dPositions.queries + offset).update(repeating: 0, count: headSize)
            }
            for sequence in sequences { differentiate(index, sequence, thread) }
        }
    }

    // kⱼ · Q[r] of all keys and positions [length, positions].
    private func keyTerms(
        of head: Head, k: UnsafePointer<Float>, _ positions: Positions?, on compute: Compute
    ) {
        guard let positions else { return }
        DenseProduct.multiply(
            rows: head.count, columns: positions.count, inner: headSize, k + head.offset,
            lda: width, positions.queries + head.column, .transposed, ldb: width,
            into: head.scratch.keyTerms, ldc: positions.count, thread: head.thread, on: compute)
    }

    // P [tile, length], in the scratch's scores.
    private func probabilities(
        _ head: Head, _ tile: Range<Int>, q: UnsafePointer<Float>, k: UnsafePointer<Float>,
        _ positions: Positions?, on compute: Compute
    ) {
        let (length, scratch) = (head.count, head.scratch)
        let queries = q + head.offset + tile.lowerBound * width
        DenseProduct.multiply(
            rows: tile.count, columns: length, inner: headSize, queries, lda: width,
            k + head.offset, .transposed, ldb: width, into: scratch.scores, ldc: length,
            thread: head.thread, on: compute)
        if let positions {
            let count = positions.count
            DenseProduct.multiply(
                rows: tile.count, columns: count, inner: headSize, queries, lda: width,
                positions.keys + head.column, .transposed, ldb: width, into: scratch.queryTerms,
                ldc: count, thread: head.thread, on: compute)
            for i in tile {
                let row = scratch.scores + (i - tile.lowerBound) * length
                let terms = scratch.queryTerms + (i - tile.lowerBound) * count
                positions.withRows(of: i) { rows in
                    for j in 0..<length {
                        let delta = Int(rows[j])
                        row[j] += terms[delta] + scratch.keyTerms[j * count + delta]
                    }
                }
            }
        }
        let scale = scale(positions)
        for i in 0..<tile.count {
            _ = compute.kernels.softmax(scratch.scores + i * length, length, scale)
        }
    }

    // One tile's part of all gradients; those through kⱼ · Q[δ] are gathered in dKeyTerms.
    private func backward(
        _ head: Head, _ tile: Range<Int>, dOut: UnsafePointer<Float>, q: UnsafePointer<Float>,
        k: UnsafePointer<Float>, v: UnsafePointer<Float>, _ positions: Positions?,
        dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>,
        dv: UnsafeMutablePointer<Float>, _ dPositions: PositionGradients?, on compute: Compute
    ) {
        let (length, scratch, thread) = (head.count, head.scratch, head.thread)
        let first = head.offset + tile.lowerBound * width
        let (p, ds) = (scratch.scores, scratch.dScores)
        DenseProduct.multiply(
            rows: length, columns: headSize, inner: tile.count, p, .transposed, lda: length,
            dOut + first, ldb: width, accumulate: true, into: dv + head.offset, ldc: width,
            thread: thread, on: compute)
        DenseProduct.multiply(
            rows: tile.count, columns: length, inner: headSize, dOut + first, lda: width,
            v + head.offset, .transposed, ldb: width, into: ds, ldc: length, thread: thread,
            on: compute)
        let scale = scale(positions)
        for i in 0..<tile.count {
            compute.kernels.softmax_backward(p + i * length, length, scale, ds + i * length)
        }
        DenseProduct.multiply(
            rows: tile.count, columns: headSize, inner: length, ds, lda: length, k + head.offset,
            ldb: width, into: dq + first, ldc: width, thread: thread, on: compute)
        DenseProduct.multiply(
            rows: length, columns: headSize, inner: tile.count, ds, .transposed, lda: length,
            q + first, ldb: width, accumulate: true, into: dk + head.offset, ldc: width,
            thread: thread, on: compute)
        guard let positions, let dPositions else { return }
        // ds by δ instead of j [tile, positions], and added to that of the keys [length, positions].
        let count = positions.count
        scratch.dQueryTerms.update(repeating: 0, count: tile.count * count)
        for i in tile {
            let row = ds + (i - tile.lowerBound) * length
            let terms = scratch.dQueryTerms + (i - tile.lowerBound) * count
            positions.withRows(of: i) { rows in
                for j in 0..<length {
                    let delta = Int(rows[j])
                    terms[delta] += row[j]
                    scratch.dKeyTerms[j * count + delta] += row[j]
                }
            }
        }
        DenseProduct.multiply(
            rows: tile.count, columns: headSize, inner: count, scratch.dQueryTerms, lda: count,
            positions.keys + head.column, ldb: width, accumulate: true, into: dq + first,
            ldc: width, thread: thread, on: compute)
        DenseProduct.multiply(
            rows: count, columns: headSize, inner: tile.count, scratch.dQueryTerms, .transposed,
            lda: count, q + first, ldb: width, accumulate: true,
            into: dPositions.keys + head.column, ldc: width, thread: thread, on: compute)
    }

    private func backward(
        ofKeyTerms head: Head, k: UnsafePointer<Float>, _ positions: Positions,
        dk: UnsafeMutablePointer<Float>, _ dPositions: PositionGradients, on compute: Compute
    ) {
        let (count, terms) = (positions.count, head.scratch.dKeyTerms)
        DenseProduct.multiply(
            rows: head.count, columns: headSize, inner: count, terms, lda: count,
            positions.queries + head.column, ldb: width, accumulate: true, into: dk + head.offset,
            ldc: width, thread: head.thread, on: compute)
        DenseProduct.multiply(
            rows: count, columns: headSize, inner: head.count, terms, .transposed, lda: count,
            k + head.offset, ldb: width, accumulate: true,
            into: dPositions.queries + head.column, ldc: width, thread: head.thread, on: compute)
    }
}
