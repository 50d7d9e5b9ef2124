import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// RefLoRA's algebra on every instruction set, against plain float64.
struct KernelRefactoringTests {
    // Below, at and past the lanes, the strips of 4 and 8 rows, and the 64 columns of a panel.
    private static let ranks = [1, 3, 4, 7, 8, 9, 16, 17, 64]
    private static let lengths = [1, 7, 8, 63, 64, 65, 200]

    private struct Factor {
        let rank: Int
        let n: Int
        let isTall: Bool
        // One more, which must stay.
        let data: Buffer<Float>

        init(rank: Int, n: Int, isTall: Bool, seed: UInt64) {
            (self.rank, self.n, self.isTall) = (rank, n, isTall)
            data = noise(rank * n + 1, seed: seed)
        }

        var raw: quant_factor {
            quant_factor(data: data.pointer, rank: rank, n: n, is_tall: isTall ? 1 : 0)
        }

        /// The elements, [rank, n].
        var rows: [[Double]] {
            (0..<rank).map { i in
                (0..<n).map { k in Double(data[isTall ? k * rank + i : i * n + k]) }
            }
        }
    }

    // Enough for the largest rank.
    private let scratch = Buffer<Double>(quant_factor_scratch(64))

    @Test(arguments: InstructionSet.supported, KernelVectorTests.counts)
    func `sum of squares and scale`(instructionSet: InstructionSet, count: Int) {
        let kernels = instructionSet.kernels
        let x = noise(count + 1, seed: 1)
        let before = x.array
        let expected = before[..<count].reduce(0.0) { $0 + Double($1) * Double($1) }
        // A square of a float is exact in float64; n additions, each rounded.
        let error = abs(kernels.sum_of_squares(x.pointer, count) - expected)
        #expect(error <= Double(count) * 0x1p-53 * expected)
        kernels.scale(0.37, count, x.pointer)
        #expect(x.array == before[..<count].map { 0.37 * $0 } + [before[count]])
    }

    @Test(arguments: InstructionSet.supported, [false, true])
    func `Gram matrices are the sums of exact products`(
        instructionSet: InstructionSet, isTall: Bool
    ) {
        for rank in Self.ranks {
            for n in Self.lengths {
                let factor = Factor(rank: rank, n: n, isTall: isTall, seed: 2)
                let rows = factor.rows
                let gram = Buffer([Double](repeating: 7, count: rank * rank + 1))
                var raw = factor.raw
                instructionSet.kernels.factor_gram(&raw, gram.pointer, scratch.pointer)
                var failures = 0
                for i in 0..<rank {
                    for j in 0..<rank {
                        let products = (0..<n).map { rows[i][$0] * rows[j][$0] }
                        let magnitude = products.reduce(0) { $0 + abs($1) }
                        let error = abs(gram[i * rank + j] - products.reduce(0, +))
                        // n additions on either side, each rounded.
                        if !(error <= 2 * Double(n) * 0x1p-53 * magnitude) { failures += 1 }
                        if gram[i * rank + j] != gram[j * rank + i] { failures += 1 }
                    }
                }
                #expect(failures == 0, "rank \(rank), n \(n)")
                #expect(gram[rank * rank] == 7)
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [false, true])
    func `a factor is multiplied in float64 and rounded once`(
        instructionSet: InstructionSet, isTall: Bool
    ) {
        for rank in Self.ranks {
            let square = noise(rank * rank, seed: 3)
            let m = Buffer<Double>(rank * rank)
            for i in 0..<rank {
                for j in 0..<rank {
                    m[i * rank + j] = Double(square[i * rank + j] + square[j * rank + i])
                }
            }
            for n in Self.lengths {
                let factor = Factor(rank: rank, n: n, isTall: isTall, seed: 4)
                let (before, last) = (factor.rows, factor.data[rank * n])
                var raw = factor.raw
                instructionSet.kernels.factor_multiply(m.pointer, &raw, scratch.pointer)
                let after = factor.rows
                var failures = 0
                for i in 0..<rank {
                    for k in 0..<n {
                        let products = (0..<rank).map { m[i * rank + $0] * before[$0][k] }
                        let (sum, magnitude) = (
                            products.reduce(0, +), products.reduce(0) { $0 + abs($1) }
                        )
                        // The rounding to fp32, and those of a sum of `rank` products.
                        let tolerance = 0x1p-24 * abs(sum) + 4 * Double(rank) * 0x1p-53 * magnitude
                        if !(abs(after[i][k] - sum) <= tolerance) { failures += 1 }
                    }
                }
                #expect(failures == 0, "rank \(rank), n \(n)")
                #expect(factor.data[rank * n] == last)
            }
        }
    }

    /// W diag(d) Wᵀ of a W with condition of about 10, d from 1 down to 1 / condition.
    private func definite(_ rank: Int, condition: Double, seed: UInt64) -> [Double] {
        var w = noise(rank * rank, seed: seed).array.map {
            Double($0) / Double(rank).squareRoot()
        }
        for i in 0..<rank { w[i * rank + i] += 2 }
        let d = (0..<rank).map { rank == 1 ? 1 : pow(condition, -Double($0) / Double(rank - 1)) }
        var result = [Double](repeating: 0, count: rank * rank)
        for i in 0..<rank {
            for j in i..<rank {
                let sum = (0..<rank).reduce(0) { $0 + w[i * rank + $1] * d[$1] * w[j * rank + $1] }
                result[i * rank + j] = sum
                result[j * rank + i] = sum
            }
        }
        return result
    }

    private func product(_ a: [Double], _ b: [Double], _ rank: Int) -> [Double] {
        var result = [Double](repeating: 0, count: rank * rank)
        for i in 0..<rank {
            for k in 0..<rank {
                for j in 0..<rank {
                    result[i * rank + j] += a[i * rank + k] * b[k * rank + j]
                }
            }
        }
        return result
    }

    private func relativeError(_ a: [Double], to b: [Double]) -> Double {
        let error = zip(a, b).reduce(0.0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        return (error / b.reduce(0.0) { $0 + $1 * $1 }).squareRoot()
    }

    private struct Means {
        var found: UInt32
        var s: [[Double]]
        var inverse: [[Double]]
    }

    private func means(
        _ kernels: quant_kernels, _ x: [[Double]], _ y: [[Double]], rank: Int,
        condition: Double = 1e12
    ) -> Means {
        let size = rank * rank
        let (s, inverse) = (Buffer<Double>(x.count * size), Buffer<Double>(x.count * size))
        let found = kernels.geometric_means(
            x.count, rank, condition, Array(x.joined()), Array(y.joined()), s.pointer,
            inverse.pointer, scratch.pointer)
        func parts(_ buffer: Buffer<Double>) -> [[Double]] {
            (0..<x.count).map { Array(buffer.array[$0 * size..<($0 + 1) * size]) }
        }
        return Means(found: found, s: parts(s), inverse: parts(inverse))
    }

    // The bounds that the method asks for: rounding, amplified by the condition.
    @Test(arguments: InstructionSet.supported, [(1e2, 1e-10), (1e8, 1e-6)])
    func `S solves the Riccati equation`(
        instructionSet: InstructionSet, bound: (condition: Double, tolerance: Double)
    ) {
        for rank in Self.ranks {
            for count in 1...8 {
                let x = (0..<count).map {
                    definite(rank, condition: bound.condition, seed: UInt64(10 + $0))
                }
                let y = (0..<count).map { definite(rank, condition: 100, seed: UInt64(50 + $0)) }
                let means = means(instructionSet.kernels, x, y, rank: rank)
                #expect(means.found == 1 << UInt32(count) - 1)
                for p in 0..<count {
                    let sxs = product(product(means.s[p], x[p], rank), means.s[p], rank)
                    #expect(relativeError(sxs, to: y[p]) < bound.tolerance)
                    let identity = (0..<rank * rank).map { $0 / rank == $0 % rank ? 1.0 : 0 }
                    let unit = product(means.s[p], means.inverse[p], rank)
                    #expect(relativeError(unit, to: identity) < bound.tolerance)
                }
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func `a pair's bits do not depend on its neighbours, and bad ones are named`(
        instructionSet: InstructionSet
    ) {
        for rank in Self.ranks {
            // A pair that takes long, one without a mean for each reason, and good ones between.
            var x = (0..<8).map { definite(rank, condition: 10, seed: UInt64(20 + $0)) }
            var y = (0..<8).map { definite(rank, condition: 10, seed: UInt64(60 + $0)) }
            x[1] = definite(rank, condition: 1e8, seed: 31)
            y[2] = [Double](repeating: 0, count: rank * rank)
            x[4][rank * rank - 1] = .nan
            y[5] = y[5].map { -$0 }
            x[6][0] = .infinity
            var bad = Set([2, 4, 5, 6])
            if rank > 1 {
                x[7] = definite(rank, condition: 1e13, seed: 37)
                bad.insert(7)
            }
            let together = means(instructionSet.kernels, x, y, rank: rank)
            for p in 0..<8 {
                let alone = means(instructionSet.kernels, [x[p]], [y[p]], rank: rank)
                #expect((together.found >> UInt32(p) & 1 == 1) == !bad.contains(p))
                #expect((alone.found == 1) == !bad.contains(p))
                guard !bad.contains(p) else { continue }
                #expect(alone.s[0] == together.s[p] && alone.inverse[0] == together.inverse[p])
            }
            // What only its condition forbids has a mean where it is allowed.
            let allowed = means(
                instructionSet.kernels, [x[7]], [y[7]], rank: rank, condition: .infinity)
            #expect(allowed.found == 1)
        }
    }

    @Test(arguments: InstructionSet.supported, [1e-60, 1e60])
    func `the size of the matrices does not matter`(instructionSet: InstructionSet, size: Double) {
        for rank in [1, 16, 64] {
            let x = definite(rank, condition: 100, seed: 5)
            let y = definite(rank, condition: 100, seed: 6)
            let large = means(
                instructionSet.kernels, [x.map { $0 * size }], [y.map { $0 / size }], rank: rank)
            let plain = means(instructionSet.kernels, [x], [y], rank: rank)
            #expect(large.found == 1)
            #expect(
                relativeError(large.s[0].map { $0 * size }, to: plain.s[0]) < 1e-12)
        }
    }
}
