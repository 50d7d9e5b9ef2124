#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The operations of a model as their equations read, in fp64: what tests compare to.
public enum Naive {
    /// x [rows, width] normalized and weighted.
    public static func rmsNorm(_ x: [Double], weight: [Float], epsilon: Float) -> [Double] {
        let C = weight.count
        return stride(from: 0, to: x.count, by: C).flatMap { start in
            let row = x[start..<start + C]
            let meanSquare = row.reduce(0) { $0 + $1 * $1 } / Double(C)
            let rms = (meanSquare + Double(epsilon)).squareRoot()
            return zip(row, weight).map { $0 / rms * Double($1) }
        }
    }

    /// silu(gate) ⊙ up.
    public static func swiglu(gate: [Double], up: [Double]) -> [Double] {
        zip(gate, up).map { g, u in g / (1 + exp(-g)) * u }
    }

    /// x [rows, heads · headSize] turned by each row's position.
    public static func rotary(
        _ x: [Double], heads: Int, headSize: Int, positions: [Int], frequencies: [Float]
    ) -> [Double] {
        var y = x
        for row in positions.indices {
            for head in 0..<heads {
                for i in 0..<headSize / 2 {
                    let first = (row * heads + head) * headSize + i
                    let second = first + headSize / 2
                    let angle = Double(Float(positions[row]) * frequencies[i])
                    y[first] = x[first] * cos(angle) - x[second] * sin(angle)
                    y[second] = x[second] * cos(angle) + x[first] * sin(angle)
                }
            }
        }
        return y
    }

    /// Causal attention of rows of these lengths, laid end to end.
    ///
    /// - q: [rows, heads · headSize]
    /// - k: [rows, keyValueHeads · headSize]
    /// - v: [rows, keyValueHeads · headSize]
    public static func attention(
        q: [Double], k: [Double], v: [Double], lengths: [Int], heads: Int, keyValueHeads: Int,
        headSize: Int
    ) -> [Double] {
        var o = [Double](repeating: 0, count: q.count)
        var start = 0
        for length in lengths {
            for i in 0..<length {
                for head in 0..<heads {
                    let group = head / (heads / keyValueHeads)
                    let query = ((start + i) * heads + head) * headSize
                    func key(_ j: Int) -> Int { ((start + j) * keyValueHeads + group) * headSize }
                    let weights = (0...i).map { j in
                        let dot = (0..<headSize).reduce(0) { $0 + q[query + $1] * k[key(j) + $1] }
                        return exp(dot / Double(headSize).squareRoot())
                    }
                    let sum = weights.reduce(0, +)
                    for j in 0...i {
                        for c in 0..<headSize {
                            o[query + c] += weights[j] / sum * v[key(j) + c]
                        }
                    }
                }
            }
            start += length
        }
        return o
    }

    /// Y = X Wᵀ, x [rows, columns], w [outputs, columns].
    public static func product(_ x: [Double], _ w: [Double], columns: Int) -> [Double] {
        let rows = x.count / columns
        let outputs = w.count / columns
        return (0..<rows * outputs).map { index in
            let (row, output) = (index / outputs, index % outputs)
            return (0..<columns).reduce(0) { $0 + x[row * columns + $1] * w[output * columns + $1] }
        }
    }

    /// −log p[token], p = softmax(W h), of each (row, token), h [rows, width], w [vocabulary, width];
    /// with `smoothing` ε, (1 − ε) of that and ε of the mean of −log p.
    public static func crossEntropy(
        _ h: [Double], w: [Double], width: Int, targets: [(row: Int, token: Int)],
        smoothing: Double = 0
    ) -> [Double] {
        targets.map { row, token in
            let logits = product(Array(h[row * width..<(row + 1) * width]), w, columns: width)
            let logSum = log(logits.reduce(0) { $0 + exp($1) })
            let losses = logits.map { logSum - $0 }
            return (1 - smoothing) * losses[token]
                + smoothing * losses.reduce(0, +) / Double(losses.count)
        }
    }

    /// x Φ(x).
    public static func gelu(_ x: [Double]) -> [Double] {
        x.map { $0 * 0.5 * erfc(-$0 / 2.0.squareRoot()) }
    }

    /// x [rows, width] with mean and variance taken out, weighted and shifted.
    public static func layerNorm(
        _ x: [Double], weight: [Float], bias: [Float], epsilon: Float
    ) -> [Double] {
        let C = weight.count
        return stride(from: 0, to: x.count, by: C).flatMap { start in
            let row = x[start..<start + C]
            let mean = row.reduce(0, +) / Double(C)
            let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(C)
            let deviation = (variance + Double(epsilon)).squareRoot()
            return zip(row, zip(weight, bias)).map {
                ($0 - mean) / deviation * Double($1.0) + Double($1.1)
            }
        }
    }

    /// Attention of rows of these lengths, laid end to end, to all of their sequence, with keys and queries of
    /// positions: `row` says which of them stands for query − key.
    ///
    /// - q: [rows, heads · headSize]; `k` and `v` likewise.
    /// - positionKeys: [positions, heads · headSize], empty for none; `positionQueries` likewise.
    public static func disentangledAttention(
        q: [Double], k: [Double], v: [Double], positionKeys: [Double], positionQueries: [Double],
        lengths: [Int], heads: Int, headSize: Int, row: (Int) -> Int
    ) -> [Double] {
        let width = heads * headSize
        var o = [Double](repeating: 0, count: q.count)
        var start = 0
        for length in lengths {
            for i in 0..<length {
                for head in 0..<heads {
                    func dot(_ a: [Double], _ i: Int, _ b: [Double], _ j: Int) -> Double {
                        (0..<headSize).reduce(0) {
                            $0 + a[i * width + head * headSize + $1]
                                * b[j * width + head * headSize + $1]
                        }
                    }
                    let scores = (0..<length).map { j in
                        var score = dot(q, start + i, k, start + j)
                        guard !positionKeys.isEmpty else {
                            return score / Double(headSize).squareRoot()
                        }
                        score += dot(q, start + i, positionKeys, row(i - j))
                        score += dot(k, start + j, positionQueries, row(i - j))
                        return score / Double(3 * headSize).squareRoot()
                    }
                    let sum = scores.reduce(0) { $0 + exp($1) }
                    for (j, score) in scores.enumerated() {
                        for c in 0..<headSize {
                            let column = head * headSize + c
                            o[(start + i) * width + column] +=
                                exp(score) / sum * v[(start + j) * width + column]
                        }
                    }
                }
            }
            start += length
        }
        return o
    }
}
