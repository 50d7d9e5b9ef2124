import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// Products with low-rank factors, on every instruction set.
struct KernelLowRankTests {
    // Ranks, inputs and outputs below, at and past a register, a tile and a panel.
    private static let shapes = [
        (1, 1, 1), (1, 31, 33), (3, 64, 32), (16, 576, 192), (16, 100, 63), (64, 40, 300),
        (256, 130, 97),
    ]
    private static let counts = [1, 2, 3, 7, 24, 100]

    private struct Term {
        let factors: LowRankFactors
        // As they are packed.
        let a: [Double]
        let b: [Double]
        let scale: Double

        init(rank: Int, inputs: Int, outputs: Int, on compute: Compute, scaled: Bool = false) {
            let seed = UInt64(rank * 7919 + inputs * 31 + outputs)
            let (a, b) = (
                noise(rank * inputs, seed: seed), noise(outputs * rank, seed: seed + 1)
            )
            factors = LowRankFactors(
                a: a, b: b, rank: rank, scale: 0.75,
                outputScale: scaled ? noise(outputs, seed: seed + 2) : nil, on: compute)
            // 127 steps up to the largest element of the rank.
            func rounded(_ factor: [Float], rankOf: (Int) -> Int) -> [Double] {
                guard compute.precision != .fp32 else { return factor.map(Double.init) }
                var largest = [Float](repeating: 0, count: rank)
                for (i, x) in factor.enumerated() {
                    largest[rankOf(i)] = max(largest[rankOf(i)], abs(x))
                }
                return factor.enumerated().map { i, x in
                    let most = largest[rankOf(i)]
                    return Double((x * (127 / most)).rounded(.toNearestOrEven) * (most / 127))
                }
            }
            self.a = rounded(a.array) { $0 / inputs }
            self.b = rounded(b.array) { $0 % rank }
            scale = 0.75
        }
    }

    /// What `count` rows of x become, each kernel in pieces of the ranges given.
    private func run(
        _ factors: LowRankFactors, x: Buffer<Float>, before: Buffer<Float>, rows: Range<Int>,
        rankCut: Int, outputCut: Int, on compute: Compute
    ) -> (u: [Float], y: [Float]) {
        let raw = factors.raw
        let (rank, outputs, count) = (raw.rank, raw.outputs, rows.count)
        let u = Buffer<Float>(count * rank)
        let y = Buffer(before.array[(rows.lowerBound * outputs)..<(rows.upperBound * outputs)])
        withUnsafePointer(to: raw) { term in
            for ranks in [0..<rankCut, rankCut..<rank] {
                compute.kernels.low_rank_down(
                    term, x.pointer + rows.lowerBound * raw.inputs, raw.inputs, count,
                    ranks.lowerBound, ranks.upperBound, u.pointer, rank)
            }
            for range in [0..<outputCut, outputCut..<outputs] {
                compute.kernels.low_rank_up(
                    term, u.pointer, rank, count, range.lowerBound, range.upperBound, y.pointer,
                    outputs)
            }
        }
        return (u.array, y.array)
    }

    @Test(arguments: InstructionSet.supported, [Precision.fp32, .int16])
    func `terms equal their definition in float64`(
        instructionSet: InstructionSet, precision: Precision
    ) {
        let compute = Compute(threads: 1, precision: precision, instructionSet: instructionSet)
        for (rank, inputs, outputs) in Self.shapes {
            let term = Term(rank: rank, inputs: inputs, outputs: outputs, on: compute)
            for count in Self.counts {
                let x = noise(count * inputs, seed: 5)
                let before = noise(count * outputs, seed: 6)
                let (_, y) = run(
                    term.factors, x: x, before: before, rows: 0..<count, rankCut: 0, outputCut: 0,
                    on: compute)
                var failures = 0
                for m in 0..<count {
                    // U in float64, and the sum of its products' magnitudes.
                    let exact = (0..<rank).map { r in
                        (0..<inputs).reduce(into: (sum: 0.0, magnitude: 0.0)) { total, k in
                            let product = term.a[r * inputs + k] * Double(x[m * inputs + k])
                            total.sum += product
                            total.magnitude += abs(product)
                        }
                    }
                    for o in 0..<outputs {
                        var sum = Double(before[m * outputs + o])
                        var magnitude = abs(sum)
                        for r in 0..<rank {
                            let b = term.b[o * rank + r] * term.scale
                            sum += exact[r].sum * b
                            magnitude += exact[r].magnitude * abs(b)
                        }
                        // Each of two sums rounds once a summand, the last products twice, and bytes'
                        // steps, their product and U's by it once each.
                        let tolerance = Double(inputs + rank + 10) * 0x1p-24 * magnitude
                        if !(abs(Double(y[m * outputs + o]) - sum) <= tolerance) { failures += 1 }
                    }
                }
                #expect(failures == 0, "rank \(rank), \(inputs) to \(outputs), \(count) rows")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [Precision.fp32, .int16])
    func `neither other rows nor where ranges are cut change a bit`(
        instructionSet: InstructionSet, precision: Precision
    ) {
        let compute = Compute(threads: 1, precision: precision, instructionSet: instructionSet)
        for (rank, inputs, outputs) in Self.shapes {
            let factors = Term(rank: rank, inputs: inputs, outputs: outputs, on: compute).factors
            let (x, before) = (noise(100 * inputs, seed: 5), noise(100 * outputs, seed: 6))
            let whole = run(
                factors, x: x, before: before, rows: 0..<100, rankCut: 0, outputCut: 0, on: compute)
            for rows in [0..<1, 1..<3, 3..<6, 6..<13, 60..<100] {
                let part = run(
                    factors, x: x, before: before, rows: rows, rankCut: rank / 3,
                    outputCut: outputs / 64 * 32, on: compute)
                #expect(
                    part.u == Array(whole.u[(rows.lowerBound * rank)..<(rows.upperBound * rank)]))
                #expect(
                    part.y
                        == Array(whole.y[(rows.lowerBound * outputs)..<(rows.upperBound * outputs)])
                )
            }
        }
    }

    /// Three weights with one input, and rows of four adapters: of ranks 1, 16 and 40, the last with output
    /// scales, and of none.
    private func product(
        _ order: [Int], threads: Int, precision: Precision, accumulate: Bool
    ) -> [Float] {
        let compute = Compute(threads: threads, precision: precision, isBatchInvariant: true)
        let (inputs, sizes) = (192, accumulate ? [96] : [192, 33, 70])
        let weights = sizes.map { size in
            LinearWeight(
                KernelProductTests.Storage(type: QUANT_4BIT).matrix(rows: size, columns: inputs),
                on: compute)
        }
        let x = noise(order.count * inputs, seed: 3)
        // A row's numbers go with it wherever it is.
        let rows = noise(8 * inputs, seed: 4)
        for (place, row) in order.enumerated() {
            (x.pointer + place * inputs).update(from: rows.pointer + row * inputs, count: inputs)
        }
        let results = sizes.map { Buffer(repeatElement(Float(0.5), count: order.count * $0)) }
        let terms = LowRankProduct()
        let adapterOfRow = order.map { $0 / 2 }
        for (i, size) in sizes.enumerated() {
            for (adapter, rank) in [1, 16, 40].enumerated() {
                let factors = Term(
                    rank: rank, inputs: inputs, outputs: size, on: compute, scaled: adapter == 2
                ).factors
                guard let first = adapterOfRow.firstIndex(of: adapter),
                    let last = adapterOfRow.lastIndex(of: adapter)
                else { continue }
                terms.append(factors, to: i, rows: first..<last + 1)
            }
        }
        LinearWeight.multiply(
            weights, x.pointer, count: order.count, accumulate: accumulate, terms: terms,
            using: Activations(on: compute), on: compute
        ) { results[$0].pointer }
        // By row, so that orders can be compared.
        return order.indices.sorted { order[$0] < order[$1] }.flatMap { place in
            zip(sizes, results).flatMap { size, y in y.array[place * size..<(place + 1) * size] }
        }
    }

    @Test(arguments: Precision.allCases, [false, true])
    func `rows of many adapters are each what they are alone`(
        precision: Precision, accumulate: Bool
    ) {
        let whole = product(
            [0, 1, 4, 5, 6, 7, 2, 3], threads: 1, precision: precision, accumulate: accumulate)
        let width = whole.count / 8
        for threads in [1, 2, 3] {
            #expect(
                product(
                    [2, 3, 7, 6, 0, 1, 5, 4], threads: threads, precision: precision,
                    accumulate: accumulate) == whole)
            for row in 0..<8 {
                #expect(
                    product(
                        [row], threads: threads, precision: precision, accumulate: accumulate)
                        == Array(whole[row * width..<(row + 1) * width]), "row \(row)")
            }
        }
    }

    @Test func `a term is added to the base product, and output scales multiply both`() {
        let compute = Compute(threads: 2, precision: .fp32)
        let (inputs, outputs, count) = (96, 50, 5)
        let matrix = KernelProductTests.Storage(type: QUANT_F32).matrix(
            rows: outputs, columns: inputs)
        let weights = matrix.dequantizedFloat32(on: compute)
        let term = Term(rank: 4, inputs: inputs, outputs: outputs, on: compute, scaled: true)
        let x = noise(count * inputs)
        let y = noise(count * outputs, seed: 9)
        let before = y.array
        let terms = LowRankProduct()
        terms.append(term.factors, to: 0, rows: 1..<4)
        LinearWeight.multiply(
            [LinearWeight(matrix, on: compute)], x.pointer, count: count, accumulate: true,
            terms: terms, using: Activations(on: compute), on: compute
        ) { _ in y.pointer }
        for m in 0..<count {
            for o in 0..<outputs {
                var sum = (0..<inputs).reduce(0.0) {
                    $0 + Double(weights[o * inputs + $1]) * Double(x[m * inputs + $1])
                }
                if (1..<4).contains(m) {
                    for r in 0..<4 {
                        let u = (0..<inputs).reduce(0.0) {
                            $0 + term.a[r * inputs + $1] * Double(x[m * inputs + $1])
                        }
                        sum += term.scale * term.b[o * 4 + r] * u
                    }
                    sum *= Double(term.factors.outputScale?[o] ?? .nan)
                }
                sum += Double(before[m * outputs + o])
                // About 500 products of magnitude below 10, rounded some 100 times.
                #expect(abs(Double(y[m * outputs + o]) - sum) < 1e-3, "\(m), \(o)")
            }
        }
    }

    @Test func `tiny and huge factors keep the digits of bytes`() {
        let compute = Compute(threads: 1)
        for (sizeA, sizeB): (Float, Float) in [(1e-9, 1), (1e-6, 1e-7), (1e6, 1e-3), (0, 1)] {
            let a = Buffer(noise(4 * 64).array.map { $0 * sizeA })
            let b = Buffer(noise(32 * 4, seed: 2).array.map { $0 * sizeB })
            let x = noise(64, seed: 3)
            let y = Buffer<Float>(32)
            let factors = LowRankFactors(a: a, b: b, rank: 4, scale: 2, on: compute)
            let (largestA, largestB) = (
                Double(a.largestMagnitude), Double(b.largestMagnitude)
            )
            let (_, result) = run(
                factors, x: x, before: y, rows: 0..<1, rankCut: 0, outputCut: 0, on: compute)
            for o in 0..<32 {
                var (sum, magnitude) = (0.0, 0.0)
                for r in 0..<4 {
                    for k in 0..<64 {
                        let (p, q) = (Double(b[o * 4 + r]), Double(a[r * 64 + k]))
                        sum += 2 * p * q * Double(x[k])
                        magnitude +=
                            2 * (abs(p) * largestA + largestB * abs(q)) * abs(Double(x[k]))
                    }
                }
                // Each factor is off by half a step, 1/254 of its largest element; the rest, a
                // product of two such errors among it, is small beside a tenth of that.
                #expect(abs(Double(result[o]) - sum) <= 1.1 / 254 * magnitude)
            }
        }
    }
}
