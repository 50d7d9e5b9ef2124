import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Attention over halves, on every instruction set, against float64 over the same halves.
struct KernelAttentionTests {
    static let positions = [1, 15, 16, 17, 127, 300]
    static let headSizes = [8, 16, 24, 64, 80, 128]
    /// Rows and the query heads of each: one; a decode step, few and many; tiles of a prompt.
    static let queries = [(1, 1), (1, 3), (1, 8), (2, 3), (5, 1), (64, 1), (64, 3)]

    /// Two heads of keys and values, written as floats and read back as the kernels see them.
    private struct Cache {
        static let heads = 2
        static let head = 1
        let headSize: Int
        let pages: KVPages

        var raw: quant_kv { pages.raw }

        init(positions: Int, headSize: Int, on kernels: quant_kernels) {
            self.headSize = headSize
            let width = Self.heads * headSize
            pages = KVPages(positions: positions, heads: Self.heads, headSize: headSize)
            let k = noise(positions * (width + 1), seed: 11)
            let v = noise(positions * (width + 2), seed: 12)
            var raw = raw
            // In two calls, cut where no block is.
            let first = positions / 2
            kernels.kv_write(&raw, k.pointer, width + 1, v.pointer, width + 2, 0, first)
            kernels.kv_write(
                &raw, k.pointer + first * (width + 1), width + 1,
                v.pointer + first * (width + 2), width + 2, first, positions - first)
        }

        func key(_ j: Int) -> [Double] {
            (0..<headSize).map {
                Double(Float(half: pages.key(head: Self.head, position: j, dimension: $0).pointee))
            }
        }

        func value(_ j: Int) -> [Double] {
            (0..<headSize).map {
                Double(Float(half: pages.value(head: Self.head, position: j)[$0]))
            }
        }
    }

    /// What attend writes, of queries whose rows are wider than their heads.
    private final class Attended {
        let o: Buffer<Float>
        let top: Buffer<Float>
        let sum: Buffer<Float>
        let ldo: Int

        init(rows: Int, group: Int, headSize: Int) {
            ldo = group * headSize + 2
            o = Buffer([Float](repeating: 7, count: rows * ldo))
            top = Buffer(rows * group)
            sum = Buffer(rows * group)
        }
    }

    /// The true results of one query.
    private struct Expected {
        var top = -Double.infinity
        var sum = 0.0
        var o: [Double]
        /// Σ |w v|, which errors are relative to.
        var magnitude: [Double]
        /// The largest Σ |scale q k|, likewise.
        var scoreMagnitude = 0.0

        init(
            query: UnsafePointer<Float>, scale: Float, cap: Double = 0,
            keys: ArraySlice<[Double]>, values: ArraySlice<[Double]>, headSize: Int
        ) {
            self.cap = cap
            o = [Double](repeating: 0, count: headSize)
            magnitude = o
            var scores: [Double] = []
            for key in keys {
                var score = 0.0
                var size = 0.0
                for d in 0..<headSize {
                    let product = Double(scale) * Double(query[d]) * key[d]
                    score += product
                    size += abs(product)
                }
                scores.append(cap > 0 ? cap * tanh(score / cap) : score)
                scoreMagnitude = max(scoreMagnitude, size)
            }
            top = scores.max() ?? top
            for (score, value) in zip(scores, values) {
                let weight = exp(score - top)
                sum += weight
                for c in 0..<headSize {
                    o[c] += weight * value[c]
                    magnitude[c] += abs(weight * value[c])
                }
            }
        }

        private let cap: Double

        /// How far a score may be off: headSize products and sums, and the scaling, each rounded; a cap
        /// adds units in its last place.
        var scoreTolerance: Double {
            Double(o.count + 2) * 0x1p-24 * scoreMagnitude + 4e-7 * cap
        }

        /// How far sums over `count` positions may be off, relative to their magnitude.
        ///
        /// A weight is off by the errors of two scores, their rounded difference (at most twice the
        /// scores' magnitude), an exponential within 2e-7 and another when the top rises; the sum by
        /// a rounding a position and a chunk.
        func tolerance(_ count: Int) -> Double {
            2 * scoreTolerance + 2 * scoreMagnitude * 0x1p-24 + 4e-7 + Double(count + 8) * 0x1p-24
        }
    }

    private let scratch = Buffer<Float>(Int(QUANT_ATTEND_SCRATCH))

    private func attend(
        _ kernels: quant_kernels, _ cache: Cache, q: UnsafePointer<Float>, ldq: Int, rows: Int,
        group: Int, past: Int, begin: Int, end: Int, scale: Float, cap: Float = 0,
        window: Int = .max
    ) -> Attended {
        let result = Attended(rows: rows, group: group, headSize: cache.headSize)
        var raw = cache.raw
        var scores = quant_scores(scale: scale, cap: cap, window: window)
        kernels.attend(
            &raw, Cache.head, q, ldq, rows, group, past, begin, end, &scores, result.o.pointer,
            result.ldo, result.top.pointer, result.sum.pointer, scratch.pointer)
        return result
    }

    @Test(arguments: InstructionSet.supported, positions)
    func `attention equals its definition`(instructionSet: InstructionSet, positions: Int) {
        let kernels = instructionSet.kernels
        for headSize in Self.headSizes {
            let cache = Cache(positions: positions, headSize: headSize, on: kernels)
            let keys = (0..<positions).map { cache.key($0) }
            let values = (0..<positions).map { cache.value($0) }
            let scale = 1 / Float(headSize).squareRoot()
            // Float64 in a debug build is slow: many queries have few dimensions.
            for (rows, group) in Self.queries where rows * group * headSize <= 5200 {
                let ldq = group * headSize + 3
                let q = noise(rows * ldq, seed: 13)
                for i in 0..<q.count { q[i] *= 3 }
                // The rows are the last positions, or, where there are more rows, some see beyond.
                let past = max(0, positions - rows)
                // The last sees nothing of 17 positions or fewer.
                for begin in positions > 256 ? [0, 272] : [0, 16, 32] {
                    let result = attend(
                        kernels, cache, q: q.pointer, ldq: ldq, rows: rows, group: group,
                        past: past, begin: begin, end: positions, scale: scale)
                    var failures = 0
                    for i in 0..<rows {
                        let end = min(positions, past + i + 1)
                        let seen = begin..<max(begin, end)
                        for g in 0..<group {
                            let expected = Expected(
                                query: q.pointer + i * ldq + g * headSize, scale: scale,
                                keys: seen.isEmpty ? [] : keys[seen],
                                values: seen.isEmpty ? [] : values[seen], headSize: headSize)
                            let m = i * group + g
                            if seen.isEmpty {
                                if result.top[m] != -.infinity { failures += 1 }
                            } else {
                                let error = abs(Double(result.top[m]) - expected.top)
                                if !(error <= expected.scoreTolerance) { failures += 1 }
                            }
                            let tolerance = expected.tolerance(seen.count)
                            let error = abs(Double(result.sum[m]) - expected.sum)
                            if !(error <= tolerance * expected.sum) { failures += 1 }
                            for c in 0..<headSize {
                                let value = result.o[i * result.ldo + g * headSize + c]
                                let error = abs(Double(value) - expected.o[c])
                                if !(error <= tolerance * expected.magnitude[c]) { failures += 1 }
                            }
                        }
                        for c in group * headSize..<result.ldo
                        where result.o[i * result.ldo + c] != 7 {
                            failures += 1
                        }
                    }
                    #expect(
                        failures == 0,
                        "\(rows) × \(group) queries of \(headSize) from \(begin)")
                }
            }
        }
    }

    /// Windows that begin within a block, with one, before a chunk and behind another; a cap or none.
    static let windows: [(window: Int, cap: Float)] = [
        (1, 0), (8, 2), (16, 0), (33, 0.5), (100, 0), (270, 3), (299, 0), (.max, 2),
    ]

    @Test(arguments: InstructionSet.supported, windows)
    func `a window's positions are seen, and scores are capped`(
        instructionSet: InstructionSet, way: (window: Int, cap: Float)
    ) {
        let kernels = instructionSet.kernels
        let (window, cap) = way
        let (positions, headSize) = (600, 16)
        let cache = Cache(positions: positions, headSize: headSize, on: kernels)
        let keys = (0..<positions).map { cache.key($0) }
        let values = (0..<positions).map { cache.value($0) }
        // What nobody sees is not read: NaN there would show.
        for (rows, group) in [(64, 3), (5, 1), (1, 3)] {
            let (past, ldq) = (positions - rows, group * headSize)
            if window < past {
                for j in 0...past - window {
                    cache.pages.value(head: Cache.head, position: j)[5] = 0x7e00
                    cache.pages.key(head: Cache.head, position: j, dimension: 3).pointee = 0x7e00
                }
            }
            let q = noise(rows * ldq, seed: 17)
            for begin in [0, 256, 512] {
                let result = attend(
                    kernels, cache, q: q.pointer, ldq: ldq, rows: rows, group: group, past: past,
                    begin: begin, end: positions, scale: 0.7, cap: cap, window: window)
                var failures = 0
                for i in 0..<rows {
                    let end = past + i + 1
                    let seen = max(begin, window < end ? end - window : 0)..<end
                    for g in 0..<group {
                        let expected = Expected(
                            query: q.pointer + i * ldq + g * headSize, scale: 0.7,
                            cap: Double(cap), keys: keys[seen], values: values[seen],
                            headSize: headSize)
                        let m = i * group + g
                        let tolerance = expected.tolerance(seen.count)
                        let (top, sum) = (Double(result.top[m]), Double(result.sum[m]))
                        if !(abs(top - expected.top) <= expected.scoreTolerance) { failures += 1 }
                        if !(abs(sum - expected.sum) <= tolerance * expected.sum) { failures += 1 }
                        for c in 0..<headSize {
                            let value = Double(result.o[i * result.ldo + g * headSize + c])
                            let error = abs(value - expected.o[c])
                            if !(error <= tolerance * expected.magnitude[c]) { failures += 1 }
                        }
                    }
                }
                #expect(failures == 0, "\(rows) × \(group) queries from \(begin)")
                // Each row alone, as in decoding: the same bits.
                for i in 0..<rows {
                    let row = attend(
                        kernels, cache, q: q.pointer + i * ldq, ldq: ldq, rows: 1, group: group,
                        past: past + i, begin: begin, end: positions, scale: 0.7, cap: cap,
                        window: window)
                    let o = result.o.array[i * result.ldo..<i * result.ldo + ldq]
                    #expect(row.o.array[..<ldq] == o)
                    #expect(row.sum.array[...] == result.sum.array[i * group..<(i + 1) * group])
                }
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [17, 300])
    func `a query's bits do not depend on its neighbours`(
        instructionSet: InstructionSet, positions: Int
    ) {
        let kernels = instructionSet.kernels
        for headSize in Self.headSizes {
            let cache = Cache(positions: positions, headSize: headSize, on: kernels)
            for (rows, group) in [(2, 3), (5, 1), (5, 8), (70, 3)] {
                let ldq = group * headSize
                let q = noise(rows * ldq, seed: 14)
                let past = max(0, positions - rows)
                let all = attend(
                    kernels, cache, q: q.pointer, ldq: ldq, rows: rows, group: group, past: past,
                    begin: 0, end: positions, scale: 0.3)
                for i in 0..<rows {
                    let row = attend(
                        kernels, cache, q: q.pointer + i * ldq, ldq: ldq, rows: 1, group: group,
                        past: past + i, begin: 0, end: positions, scale: 0.3)
                    let o = all.o.array[i * all.ldo..<(i + 1) * all.ldo]
                    #expect(row.o.array[...] == o)
                    #expect(row.top.array[...] == all.top.array[i * group..<(i + 1) * group])
                    #expect(row.sum.array[...] == all.sum.array[i * group..<(i + 1) * group])
                    let g = i % group
                    let alone = attend(
                        kernels, cache, q: q.pointer + i * ldq + g * headSize, ldq: ldq, rows: 1,
                        group: 1, past: past + i, begin: 0, end: positions, scale: 0.3)
                    #expect(
                        alone.o.array[..<headSize]
                            == row.o.array[g * headSize..<(g + 1) * headSize])
                    #expect(alone.top[0] == row.top[g] && alone.sum[0] == row.sum[g])
                }
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func `what a query does not see cannot make it NaN`(instructionSet: InstructionSet) {
        let kernels = instructionSet.kernels
        let (positions, headSize, rows) = (300, 64, 20)
        let cache = Cache(positions: positions, headSize: headSize, on: kernels)
        let q = noise(rows * headSize, seed: 15)
        func result() -> Attended {
            attend(
                kernels, cache, q: q.pointer, ldq: headSize, rows: rows, group: 1,
                past: positions - rows, begin: 0, end: positions, scale: 0.125)
        }
        let clean = result()
        cache.pages.value(head: Cache.head, position: positions - 1)[5] = 0x7e00
        let damagedValue = result()
        cache.pages.key(head: Cache.head, position: positions - 1, dimension: 5)
            .pointee = 0x7e00
        let damagedKey = result()
        let last = (rows - 1) * clean.ldo
        #expect(damagedValue.o.array[..<last] == clean.o.array[..<last])
        #expect(damagedKey.o.array[..<last] == clean.o.array[..<last])
        // And what it sees does.
        #expect(damagedValue.o[last + 5].isNaN && !damagedValue.o[last + 6].isNaN)
        #expect(damagedKey.sum[rows - 1].isNaN && damagedKey.o[last + 6].isNaN)
    }

    @Test(arguments: InstructionSet.supported, [1, 2, 5])
    func `merged parts are the softmax of the whole`(instructionSet: InstructionSet, parts: Int) {
        let kernels = instructionSet.kernels
        for positions in [17, 300] {
            for (rows, group, headSize) in [(1, 8, 64), (5, 3, 24), (64, 1, 80)] {
                let cache = Cache(positions: positions, headSize: headSize, on: kernels)
                let keys = (0..<positions).map { cache.key($0) }
                let values = (0..<positions).map { cache.value($0) }
                let ldq = group * headSize
                let q = noise(rows * ldq, seed: 16)
                let past = max(0, positions - rows)
                let ldo = group * headSize + 2
                let o = Buffer<Float>(parts * rows * ldo)
                let top = Buffer<Float>(parts * rows * group)
                let sum = Buffer<Float>(parts * rows * group)
                // 17 positions in five parts leave some empty.
                let length = (positions / parts + 15) / 16 * 16
                var raw = cache.raw
                var scores = quant_scores(scale: 0.25, cap: 0, window: .max)
                for part in 0..<parts {
                    let begin = part * length
                    let end = part == parts - 1 ? positions : min(positions, begin + length)
                    kernels.attend(
                        &raw, Cache.head, q.pointer, ldq, rows, group, past, begin, end, &scores,
                        o.pointer + part * rows * ldo, ldo, top.pointer + part * rows * group,
                        sum.pointer + part * rows * group, scratch.pointer)
                }
                let merged = Buffer([Float](repeating: 7, count: rows * (ldo + 1)))
                kernels.attend_merge(
                    parts, rows, group, headSize, o.pointer, ldo, top.pointer, sum.pointer,
                    merged.pointer, ldo + 1)
                var failures = 0
                for i in 0..<rows {
                    let end = min(positions, past + i + 1)
                    for g in 0..<group {
                        let expected = Expected(
                            query: q.pointer + i * ldq + g * headSize, scale: 0.25,
                            keys: keys[..<end], values: values[..<end], headSize: headSize)
                        // Numerator and denominator are each off, and the parts' factors.
                        let tolerance = 2 * expected.tolerance(end) + 1e-6
                        for c in 0..<headSize {
                            let value = Double(merged[i * (ldo + 1) + g * headSize + c])
                            let error = abs(value - expected.o[c] / expected.sum)
                            let magnitude = expected.magnitude[c] / expected.sum
                            if !(error <= tolerance * magnitude) { failures += 1 }
                        }
                    }
                    if merged[i * (ldo + 1) + group * headSize] != 7 { failures += 1 }
                }
                #expect(failures == 0, "\(positions) positions, \(rows) × \(group) of \(headSize)")
                if parts == 1 {
                    kernels.attend_merge(
                        1, rows, group, headSize, o.pointer, ldo, top.pointer, sum.pointer,
                        o.pointer, ldo)
                    for i in 0..<rows {
                        let inPlace = o.array[i * ldo..<i * ldo + group * headSize]
                        let apart = merged.array[i * (ldo + 1)..<i * (ldo + 1) + group * headSize]
                        #expect(inPlace == apart)
                    }
                }
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func `merging nothing gives zeros`(instructionSet: InstructionSet) {
        let o = Buffer<Float>(32)
        let top = Buffer([Float](repeating: -.infinity, count: 2))
        let sum = Buffer<Float>(2)
        let out = noise(16)
        instructionSet.kernels.attend_merge(
            2, 1, 1, 16, o.pointer, 16, top.pointer, sum.pointer, out.pointer, 16)
        #expect(out.array == [Float](repeating: 0, count: 16))
    }

    @Test(arguments: InstructionSet.supported)
    func `halves are rounded to even, finite ones stay finite, and NaN stays NaN`(
        instructionSet: InstructionSet
    ) {
        let x = Buffer<Float>([
            65504, 65520, 1e30, -1e30, .infinity, -.infinity, -65520, 0x1p-24,
            0x1p-25, 0x1.8p-24, -0.0, 1 + 0x1p-11, 1 + 0x3p-11, 3, .nan, 0x1.ffdp15,
        ])
        let expected: [UInt16] = [
            0x7bff, 0x7bff, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0xfbff, 1,
            0, 2, 0x8000, 0x3c00, 0x3c02, 0x4200, 0x7e00, 0x7bff,
        ]
        let pages = KVPages(positions: 4, heads: 1, headSize: 16)
        var raw = pages.raw
        instructionSet.kernels.kv_write(&raw, x.pointer, 16, x.pointer, 16, 3, 1)
        func half(_ position: Int, _ d: Int) -> (key: UInt16, value: UInt16) {
            (
                pages.key(head: 0, position: position, dimension: d).pointee,
                pages.value(head: 0, position: position)[d]
            )
        }
        for d in 0..<16 {
            #expect(half(3, d) == (expected[d], expected[d]), "\(x[d])")
            // The neighbours are as they were.
            #expect(half(2, d) == (0xffff, 0xffff))
        }
    }
}

extension Float {
    /// The value of an IEEE half.
    fileprivate init(half: UInt16) {
        var bits = half
        var value: Float = 0
        InstructionSet.supported[0].kernels.f32_from_f16(&bits, 1, &value)
        self = value
    }
}
