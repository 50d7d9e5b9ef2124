import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

// As in OperationsTests: sums of up to a few hundred products of numbers near 1 in fp32.
private let tolerance = 1e-5

@Suite struct `Bidirectional attention` {
    @Test(
        arguments: InstructionSet.supported,
        [nil, RelativePositions(buckets: 4, maximumDistance: 16)])
    func `forward and backward agree with the equation`(
        set: InstructionSet, scheme: RelativePositions?
    ) {
        // The second sequence is longer than a tile of 64 queries; one of a single token attends to itself.
        let (heads, headSize, lengths) = (2, 3, [5, 67, 1])
        let (width, count) = (heads * headSize, lengths.reduce(0, +))
        var sequences: [Range<Int>] = []
        for length in lengths {
            let start = sequences.last?.upperBound ?? 0
            sequences.append(start..<start + length)
        }
        let longest = 67
        let used = scheme?.rows(forLength: longest) ?? 0..<0
        var random = SeededGenerator(seed: 5)
        let (q, k, v) = (
            random.floats(count * width), random.floats(count * width),
            random.floats(count * width)
        )
        let (pk, pq) = (random.floats(used.count * width), random.floats(used.count * width))
        let w = random.floats(count * width)
        func exact(
            q: [Double], k: [Double], v: [Double], pk: [Double], pq: [Double]
        ) -> [Double] {
            Naive.disentangledAttention(
                q: q, k: k, v: v, positionKeys: pk, positionQueries: pq, lengths: lengths,
                heads: heads, headSize: headSize
            ) { (scheme?.row(of: $0) ?? 0) - used.lowerBound }
        }
        let compute = Compute(threads: 3, instructionSet: set)
        let scratch = (0..<3).map { _ in
            Buffer<Float>(
                BidirectionalAttention.scratchCount(longest: longest, positions: used.count))
        }
        let attention = BidirectionalAttention(heads: heads, headSize: headSize)
        let keys = Buffer(pk)
        let queries = Buffer(pq)
        let positions = scheme.map {
            BidirectionalAttention.Positions(
                keys: keys.pointer, queries: queries.pointer, scheme: $0, longest: longest)
        }
        let o = Buffer<Float>(count * width)
        attention.forward(
            sequences, q: q, k: k, v: v, positions: positions, into: o.pointer, scratch: scratch,
            on: compute)
        let (Q, K, V) = (q.map(Double.init), k.map(Double.init), v.map(Double.init))
        let (PK, PQ) = (pk.map(Double.init), pq.map(Double.init))
        GradientCheck.expectClose(
            o.elements, exact(q: Q, k: K, v: V, pk: PK, pq: PQ), within: tolerance)

        let (dq, dk, dv) = (Buffer<Float>(q.count), Buffer<Float>(q.count), Buffer<Float>(q.count))
        let (dpk, dpq) = (Buffer<Float>(pk.count), Buffer<Float>(pk.count))
        // What was there is overwritten.
        for buffer in [dq, dk, dv, dpk, dpq] { buffer.elements.update(repeating: 7) }
        attention.backward(
            sequences, dOut: w, q: q, k: k, v: v, positions: positions, dq: dq.pointer,
            dk: dk.pointer, dv: dv.pointer,
            dPositions: scheme.map { _ in
                BidirectionalAttention.PositionGradients(
                    keys: dpk.pointer, queries: dpq.pointer)
            }, scratch: scratch, on: compute)
        func check(
            _ actual: Buffer<Float>, _ name: String, at x: [Double],
            _ f: @escaping ([Double]) -> [Double]
        ) {
            // Every seventh element: the exact operation is slow in fp64.
            let step = 1e-5
            for i in stride(from: 0, to: x.count, by: 7) {
                var (above, below) = (x, x)
                above[i] += step
                below[i] -= step
                let expected =
                    (GradientCheck.weighted(f(above), by: w)
                        - GradientCheck.weighted(f(below), by: w)) / (2 * step)
                // Gradients of positions are sums over all pairs of tokens.
                #expect(
                    abs(Double(actual[i]) - expected) <= 3 * tolerance * max(1, abs(expected)),
                    "\(name)[\(i)]")
            }
        }
        check(dq, "dq", at: Q) { exact(q: $0, k: K, v: V, pk: PK, pq: PQ) }
        check(dk, "dk", at: K) { exact(q: Q, k: $0, v: V, pk: PK, pq: PQ) }
        check(dv, "dv", at: V) { exact(q: Q, k: K, v: $0, pk: PK, pq: PQ) }
        check(dpk, "dK", at: PK) { exact(q: Q, k: K, v: V, pk: $0, pq: PQ) }
        check(dpq, "dQ", at: PQ) { exact(q: Q, k: K, v: V, pk: PK, pq: $0) }
    }

    @Test func `distances share rows as in transformers`() {
        // build_relative_position(bucket_size: 256, max_position: 512) + 256, clamped; distances 0 to 513.
        let scheme = RelativePositions(buckets: 256, maximumDistance: 512)
        for (distance, row) in Self.recorded {
            #expect(scheme.row(of: distance) == row, "distance \(distance)")
        }
        #expect(scheme.count == 512)
        let none = RelativePositions(buckets: 0, maximumDistance: 8)
        #expect((-9...9).map(none.row) == [0] + [0] + Array(1...15) + [15, 15])
    }

    private static let recorded: [(Int, Int)] = [
        (-600, 0), (-512, 0), (-511, 1), (-510, 1), (-300, 49), (-200, 87), (-130, 126),
        (-129, 127), (-128, 128), (-127, 129), (-1, 255), (0, 256), (1, 257), (127, 383),
        (128, 384), (129, 385), (130, 386), (131, 387), (132, 387), (150, 399), (200, 425),
        (255, 448), (256, 448), (257, 448), (300, 463), (400, 489), (509, 511), (510, 511),
        (511, 511), (512, 511), (513, 511), (600, 511),
    ]
}
