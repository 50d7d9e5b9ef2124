import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The vector operations of every instruction set against float64.
struct KernelVectorTests {
    static let counts = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 257, 1000]

    // A vector exp is within 2e-7, a division and three products within 2⁻²⁴ each.
    private let elementwise: Float = 2e-7 + 4 * 0x1p-24

    @Test(arguments: InstructionSet.supported, counts)
    func `dot and axpy`(instructionSet: InstructionSet, count: Int) {
        let kernels = instructionSet.kernels
        let x = noise(count, seed: 1)
        let y = noise(count + 1, seed: 2)
        let products = zip(x.array, y.array).map { Double($0) * Double($1) }
        let magnitude = Float(products.reduce(0) { $0 + abs($1) })
        // n additions and n products, each rounded.
        let tolerance = Float(2 * count) * 0x1p-24 * magnitude
        let difference = kernels.dot(x.pointer, y.pointer, count) - Float(products.reduce(0, +))
        #expect(abs(difference) <= tolerance + .leastNonzeroMagnitude)

        let before = y.array
        kernels.axpy(0.37, x.pointer, count, y.pointer)
        for i in 0..<count {
            let expected = before[i] + 0.37 * x[i]
            // Fused or not: one rounding of the product more or less.
            #expect(abs(y[i] - expected) <= 0x1p-23 * (abs(before[i]) + abs(x[i])))
        }
        #expect(y[count] == before[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func softmax(instructionSet: InstructionSet, count: Int) {
        guard count > 0 else { return }
        for scale: Float in [1, 0.125, 40] {
            let x = noise(count + 1, seed: 3)
            if count > 3 { x[2] = -.infinity }
            let before = x.array
            let scaled = before[..<count].map { Double(scale * $0) }
            let top = scaled.max() ?? 0
            let sum = scaled.reduce(0) { $0 + exp($1 - top) }
            let logSum = instructionSet.kernels.softmax(x.pointer, count, scale)
            #expect(abs(Double(logSum) - (top + log(sum))) <= 1e-6 * max(1, abs(top + log(sum))))
            for i in 0..<count {
                let expected = exp(scaled[i] - top) / sum
                // The exponent scaled - top is rounded: an error of 2⁻²⁴ of itself, |it| < 200.
                let error = abs(Double(x[i]) - expected)
                #expect(error <= 2e-5 * expected + 1e-38)
                // Where it is small, the exponential's own error shows.
                if scale < 1 { #expect(error <= 1e-6 * expected) }
            }
            #expect(x[count] == before[count])
        }
    }

    @Test(arguments: InstructionSet.supported)
    func `the exponential is within 2e-7, and 0 or infinity beyond its range`(
        instructionSet: InstructionSet
    ) {
        // silu(g) with up = 1 shows exp(-g): g / silu(g) - 1.
        var worst = 0.0
        for step in -8700...8700 {
            let g = Float(step) / 100
            if g == 0 { continue }
            let gate = Buffer([Float](repeating: g, count: 16))
            let up = Buffer([Float](repeating: 1, count: 16))
            instructionSet.kernels.swiglu(gate.pointer, up.pointer, 16, gate.pointer)
            let expected = Double(g) / (1 + exp(-Double(g)))
            worst = max(worst, abs(Double(gate[5]) - expected) / abs(expected))
        }
        // exp, the sum, the quotient, the product with g and with up.
        #expect(worst <= 2e-7 + 4 * 0x1p-24)

        let extremes: [Float] = [-200, 200, -.infinity, .nan, 0, -0.0, 104, -104]
        let gate = Buffer(extremes)
        let up = Buffer([Float](repeating: 1, count: 8))
        let h = Buffer<Float>(8)
        instructionSet.kernels.swiglu(gate.pointer, up.pointer, 8, h.pointer)
        #expect(abs(h[0]) < 1e-35 && h[1] == 200 && h[3].isNaN && h[4] == 0 && h[6] == 104)
    }

    @Test(arguments: InstructionSet.supported, counts)
    func swiglu(instructionSet: InstructionSet, count: Int) {
        let gate = noise(count + 1, seed: 4)
        let up = noise(count + 1, seed: 5)
        let dh = noise(count, seed: 6)
        for i in 0..<count { gate[i] *= 10 }
        let g = gate.array
        let u = up.array
        let h = Buffer<Float>(count + 1)
        instructionSet.kernels.swiglu(gate.pointer, up.pointer, count, h.pointer)
        // In place: the gradients overwrite what they are of.
        instructionSet.kernels.swiglu_backward(
            gate.pointer, up.pointer, dh.pointer, count, gate.pointer, up.pointer)
        for i in 0..<count {
            let sigmoid = 1 / (1 + exp(-Double(g[i])))
            let silu = Double(g[i]) * sigmoid
            let expected = Float(silu) * u[i]
            #expect(abs(h[i] - expected) <= elementwise * abs(expected) + .leastNormalMagnitude)
            let slope = sigmoid * (1 + Double(g[i]) * (1 - sigmoid))
            let dgate = Double(dh[i]) * Double(u[i]) * slope
            // 1 - sigmoid loses digits near 1, and so does 1 + g (…) near its zero: errors of 2⁻²⁴ of
            // 1 + |g|.
            let bound = 4e-7 * abs(Double(dh[i]) * Double(u[i])) * (1 + abs(Double(g[i])))
            #expect(abs(Double(gate[i]) - dgate) <= bound)
            let dup = Float(silu) * dh[i]
            #expect(abs(up[i] - dup) <= elementwise * abs(dup) + .leastNormalMagnitude)
        }
        #expect(h[count] == 0 && gate[count] == g[count] && up[count] == u[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func geglu(instructionSet: InstructionSet, count: Int) {
        let gate = noise(count + 1, seed: 4)
        let up = noise(count + 1, seed: 5)
        let dh = noise(count, seed: 6)
        for i in 0..<count { gate[i] *= 4 }
        let (g, u) = (gate.array, up.array)
        let h = Buffer<Float>(count + 1)
        instructionSet.kernels.geglu(gate.pointer, up.pointer, count, h.pointer)
        instructionSet.kernels.geglu_backward(
            gate.pointer, up.pointer, dh.pointer, count, gate.pointer, up.pointer)
        for i in 0..<count {
            let (x, slope) = (Double(g[i]), (2 / Double.pi).squareRoot())
            let t = tanh(slope * (x + 0.044715 * x * x * x))
            let gelu = x * (1 + t) / 2
            // 1 + tanh cancels where it is small: errors are relative to x.
            let bound = 1e-6 * abs(x)
            #expect(abs(Double(h[i]) - gelu * Double(u[i])) <= bound * abs(Double(u[i])))
            #expect(abs(Double(up[i]) - gelu * Double(dh[i])) <= bound * abs(Double(dh[i])))
            let inner = slope * (1 + 3 * 0.044715 * x * x)
            let dgate = Double(dh[i]) * Double(u[i]) * (1 + t + x * (1 - t * t) * inner) / 2
            // 1 - tanh² cancels likewise, times x of the inner slope, at most 4 where it is not 0.
            let most = 2e-6 * abs(Double(dh[i]) * Double(u[i])) * (1 + abs(x))
            #expect(abs(Double(gate[i]) - dgate) <= most)
        }
        #expect(h[count] == 0 && gate[count] == g[count] && up[count] == u[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func `soft cap`(instructionSet: InstructionSet, count: Int) {
        let x = noise(count + 1, seed: 4)
        let dy = noise(count + 1, seed: 5)
        let (before, d) = (x.array, dy.array)
        instructionSet.kernels.soft_cap(x.pointer, count, 3, 2)
        instructionSet.kernels.soft_cap_backward(x.pointer, count, 3, 2, dy.pointer)
        for i in 0..<count {
            let t = tanh(1.5 * Double(before[i]))
            // Near 0 the exponential cancels to within units in the last place of the cap.
            #expect(abs(Double(x[i]) - 2 * t) <= 2 * 4e-7)
            #expect(abs(Double(dy[i]) - 3 * (1 - t * t) * Double(d[i])) <= 6e-6)
        }
        #expect(x[count] == before[count] && dy[count] == d[count])
        let extremes = Buffer<Float>([-1e30, 1e30, -.infinity, .infinity, .nan, 0])
        instructionSet.kernels.soft_cap(extremes.pointer, 6, 3, 2)
        #expect(extremes.array[..<4] == [-2, 2, -2, 2] && extremes[4].isNaN && extremes[5] == 0)
    }

    @Test(arguments: InstructionSet.supported, counts)
    func rmsnorm(instructionSet: InstructionSet, count: Int) {
        guard count > 0 else { return }
        let x = noise(count + 1, seed: 7)
        let weight = noise(count, seed: 8)
        let before = x.array
        let squares = before[..<count].reduce(0.0) { $0 + Double($1) * Double($1) }
        let expected = 1 / (squares / Double(count) + 1e-5).squareRoot()
        // In place, and half of the relative error of a sum of n squares: n · 2⁻²⁴.
        let scale = instructionSet.kernels.rmsnorm(
            x.pointer, weight.pointer, count, 1e-5, x.pointer)
        let tolerance = Float(count + 4) * 0x1p-24
        #expect(abs(scale - Float(expected)) <= tolerance * Float(expected))
        for i in 0..<count {
            let normal = before[i] * Float(expected) * weight[i]
            #expect(abs(x[i] - normal) <= (tolerance + 0x1p-22) * abs(normal))
        }
        #expect(x[count] == before[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func gelu(instructionSet: InstructionSet, count: Int) {
        let x = noise(count + 1, seed: 14)
        let dh = noise(count + 1, seed: 15)
        // Out to ±20, where one side is x and the other nothing.
        for i in 0..<count { x[i] *= 10 }
        let before = (x: x.array, dh: dh.array)
        let h = Buffer<Float>(count + 1)
        instructionSet.kernels.gelu(x.pointer, count, h.pointer)
        instructionSet.kernels.gelu_backward(x.pointer, count, dh.pointer)
        for i in 0..<count {
            let v = Double(before.x[i])
            let distribution = 0.5 * erfc(-v / 2.0.squareRoot())
            // erfc by a formula that is off by 1.5e-7, with an exp that is off by 2e-7, and a few roundings.
            let bound = 4e-7 * max(1, abs(v))
            #expect(abs(Double(h[i]) - v * distribution) <= bound)
            let slope = distribution + v * exp(-v * v / 2) / (2 * Double.pi).squareRoot()
            let expected = Double(before.dh[i]) * slope
            #expect(abs(Double(dh[i]) - expected) <= bound * abs(Double(before.dh[i])))
        }
        #expect(h[count] == 0 && dh[count] == before.dh[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func layernorm(instructionSet: InstructionSet, count: Int) {
        guard count > 0 else { return }
        let (x, dy) = (noise(count + 1, seed: 16), noise(count + 1, seed: 17))
        let (weight, bias) = (noise(count, seed: 18), noise(count, seed: 19))
        // A mean far from 0: a variance from squares alone would lose four digits.
        for i in 0..<count { x[i] += 100 }
        let before = (x: x.array, dy: dy.array)
        let v = before.x[..<count].map(Double.init)
        let mean = v.reduce(0, +) / Double(count)
        let variance = v.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count)
        let rho = 1 / (variance + 1e-5).squareRoot()
        var statistics: (mean: Float, rho: Float) = (0, 0)
        // In place.
        let y = Buffer(before.x)
        let kernels = instructionSet.kernels
        kernels.layernorm(
            y.pointer, weight.pointer, bias.pointer, count, 1e-5, y.pointer, &statistics.mean,
            &statistics.rho)
        kernels.layernorm_backward(
            x.pointer, weight.pointer, count, statistics.mean, statistics.rho, dy.pointer)
        // A sum of n numbers near 100, and what the difference from their mean loses of them, next to ρ.
        let lost = Double(count + 4) * 0x1p-24 * 100 * rho
        #expect(abs(Double(statistics.mean) - mean) <= Double(count) * 0x1p-24 * 100)
        // Of a single number, and nearly equal ones, the variance is what was lost.
        guard count > 2 else { return }
        let g = (0..<count).map { Double(before.dy[$0]) * Double(weight[$0]) }
        let normed = v.map { ($0 - mean) * rho }
        let meanG = g.reduce(0, +) / Double(count)
        let meanGX = zip(g, normed).reduce(0) { $0 + $1.0 * $1.1 } / Double(count)
        for i in 0..<count {
            let expected = normed[i] * Double(weight[i]) + Double(bias[i])
            #expect(abs(Double(y[i]) - expected) <= lost * (4 + abs(normed[i])) * 4)
            let gradient = rho * (g[i] - meanG - normed[i] * meanGX)
            #expect(abs(Double(dy[i]) - gradient) <= lost * rho * 40)
        }
        #expect(y[count] == before.x[count] && dy[count] == before.dy[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func `gradients of softmax and rmsnorm`(instructionSet: InstructionSet, count: Int) {
        guard count > 0 else { return }
        let kernels = instructionSet.kernels
        let p = noise(count, seed: 9)
        let dp = noise(count + 1, seed: 10)
        let (x, weight) = (noise(count, seed: 11), noise(count, seed: 12))
        let dx = noise(count + 1, seed: 13)
        let before = (dp: dp.array, dx: dx.array)
        func sum(_ term: (Int) -> Double) -> (value: Double, magnitude: Double) {
            (0..<count).reduce((0, 0)) { ($0.0 + term($1), $0.1 + abs(term($1))) }
        }

        kernels.softmax_backward(p.pointer, count, 0.125, dp.pointer)
        let inner = sum { Double(p[$0]) * Double(before.dp[$0]) }
        kernels.rmsnorm_backward(
            before.dp, x.pointer, weight.pointer, count, 0.7, dx.pointer)
        let mean = sum {
            Double(before.dp[$0]) * Double(weight[$0]) * Double(x[$0]) / Double(count)
        }
        // A sum of n products in fp32, then a handful of operations.
        let (summed, rounded) = (Double(2 * count) * 0x1p-24, 0x1p-21)
        for i in 0..<count {
            let (value, gradient) = (Double(p[i]), Double(before.dp[i]))
            let bound = abs(value) * 0.125 * (abs(gradient) * rounded + inner.magnitude * summed)
            let expected = value * (gradient - inner.value) * 0.125
            #expect(abs(Double(dp[i]) - expected) <= bound + abs(expected) * rounded)

            let (kept, added) = (Double(before.dx[i]), 0.7 * gradient * Double(weight[i]))
            let taken = 0.343 * Double(x[i])
            let total = kept + added - taken * mean.value
            let error =
                (abs(kept) + abs(added) + abs(taken) * mean.magnitude) * rounded
                + abs(taken) * mean.magnitude * summed
            #expect(abs(Double(dx[i]) - total) <= error)
        }
        #expect(dp[count] == before.dp[count] && dx[count] == before.dx[count])
    }

    @Test(arguments: InstructionSet.supported, counts)
    func `dropout is the same bits everywhere`(instructionSet: InstructionSet, count: Int) {
        let x = noise(count + 1, seed: 17)
        if count > 3 { x[2] = .nan }
        for (key, p) in [(0, 0.05), (0x0123_4567_89ab_cdef, 0.5), (.max, 0.95)]
            as [(UInt64, Double)]
        {
            let (threshold, scale) = (UInt32(p * 0x1p32), Float(1 / (1 - p)))
            for accumulate: Int32 in [0, 1] {
                let results = [InstructionSet.supported[0], instructionSet].map { set in
                    let y = noise(count + 1, seed: 18)
                    set.kernels.dropout(
                        x.pointer, count, key, threshold, scale, accumulate, y.pointer)
                    return y.array
                }
                #expect(results[0].map(\.bitPattern) == results[1].map(\.bitPattern))
                let before = noise(count + 1, seed: 18).array
                #expect(results[0][count] == before[count])
                for i in 0..<count where i != 2 {
                    let base = accumulate == 1 ? before[i] : 0
                    #expect(results[0][i] == base || results[0][i] == base + scale * x[i])
                }
            }
            // In place.
            let (apart, within) = (Buffer<Float>(count + 1), Buffer(x.array))
            let kernels = instructionSet.kernels
            kernels.dropout(x.pointer, count, key, threshold, scale, 0, apart.pointer)
            kernels.dropout(within.pointer, count, key, threshold, scale, 0, within.pointer)
            #expect(
                apart.array[..<count].map(\.bitPattern) == within.array[..<count].map(\.bitPattern))
        }
    }

    @Test func `dropout takes its share, whatever the key and the distance`() {
        let kernels = InstructionSet.current.kernels
        let (count, keys) = (1024, 1000)
        let ones = Buffer([Float](repeating: 1, count: count))
        let row = Buffer<Float>(count)
        for p in [0.05, 0.5] {
            // Dropped at column i; at i and, `lag` further or in the next row, again.
            var (dropped, columns) = (0, [Int](repeating: 0, count: count))
            let lags = [1, 2, 16, 512]
            var (pairs, rows) = ([Int](repeating: 0, count: lags.count), 0)
            var last = [Bool](repeating: false, count: count)
            for key in 0..<keys {
                // Half of the keys are neighbours, the others far apart.
                let key = UInt64(key) &* (key % 2 == 0 ? 0x1_0000_0001 : 0x9e37_79b9_7f4a_7c15)
                kernels.dropout(ones.pointer, count, key, UInt32(p * 0x1p32), 1, 0, row.pointer)
                let drops = row.array.map { $0 == 0 }
                for i in 0..<count where drops[i] {
                    dropped += 1
                    columns[i] += 1
                    rows += last[i] ? 1 : 0
                    for (k, lag) in lags.enumerated() {
                        pairs[k] += drops[(i + lag) % count] ? 1 : 0
                    }
                }
                last = drops
            }
            // Within five deviations of a binomial, a chance of 6e-7 each.
            func isLikely(_ hits: Int, of trials: Int, _ p: Double) -> Bool {
                let (n, hits) = (Double(trials), Double(hits))
                return abs(hits - n * p) <= 5 * (n * p * (1 - p)).squareRoot()
            }
            #expect(isLikely(dropped, of: count * keys, p))
            #expect(columns.allSatisfy { isLikely($0, of: keys, p) })
            #expect(pairs.allSatisfy { isLikely($0, of: count * keys, p * p) }, "\(pairs)")
            #expect(isLikely(rows, of: count * (keys - 1), p * p), "\(rows)")
        }
    }

    @Test(arguments: InstructionSet.supported, [1, 4, 15, 16, 17, 32, 40, 64])
    func `rotations, and back`(instructionSet: InstructionSet, half: Int) {
        let (cosine, sine) = (noise(half, seed: 14), noise(half, seed: 15))
        for i in 0..<half { (cosine[i], sine[i]) = (cos(sine[i]), sin(sine[i])) }
        let x = noise(2 * half + 1, seed: 16)
        let before = x.array
        instructionSet.kernels.rotate(cosine.pointer, sine.pointer, half, 1, x.pointer)
        for i in 0..<half {
            let (a, b) = (before[i], before[half + i])
            // Two products and a sum, rounded once each.
            let bound = 3 * 0x1p-24 * (abs(a) + abs(b))
            #expect(abs(x[i] - (a * cosine[i] - b * sine[i])) <= bound)
            #expect(abs(x[half + i] - (b * cosine[i] + a * sine[i])) <= bound)
        }
        instructionSet.kernels.rotate(cosine.pointer, sine.pointer, half, -1, x.pointer)
        for i in 0..<2 * half {
            // The same again, and cos² + sin² is 1 to two roundings.
            let bound = 8 * 0x1p-24 * (abs(before[i]) + abs(before[(i + half) % (2 * half)]))
            #expect(abs(x[i] - before[i]) <= bound)
        }
        #expect(x[2 * half] == before[2 * half])
    }
}
