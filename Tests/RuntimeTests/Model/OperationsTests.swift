import LorikeetQuant
import LorikeetRuntime
import QuantKernels
import TestSupport
import Testing

// fp32 keeps 2⁻²⁴ = 6e-8 a step; the operations here sum up to a few hundred products of numbers near
// 1 in some order, so 1e-5 of the largest value leaves room for √n growth and for expf's last bits,
// and is a thousand times below any wrong term.
private let tolerance = 1e-5

@Suite struct `RMS normalization` {
    @Test(arguments: InstructionSet.supported, [(1, 5), (7, 16), (3, 65)])
    func `forward and backward agree with the equation`(set: InstructionSet, shape: (Int, Int)) {
        let (rows, width) = shape
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 1)
        let x = random.floats(rows * width)
        let weight = random.floats(width)
        let w = random.floats(rows * width)
        let norm = RMSNorm(weight: Buffer(weight), epsilon: 1e-5)

        let (y, rho) = (Buffer<Float>(x.count), Buffer<Float>(rows))
        norm.forward(x, count: rows, into: y.pointer, inverseRMS: rho.pointer, on: compute)
        let exact = { Naive.rmsNorm($0, weight: weight, epsilon: 1e-5) }
        GradientCheck.expectClose(y.elements, exact(x.map(Double.init)), within: tolerance)

        // The gradient is added: one that was there stays.
        let (dy, dx) = (Buffer(w), Buffer([Float](repeating: 2, count: x.count)))
        norm.backward(
            dy.pointer, x: x, inverseRMS: rho.pointer, count: rows, addingTo: dx.pointer,
            on: compute)
        let gradient = GradientCheck.centralDifferences(at: x.map(Double.init)) {
            GradientCheck.weighted(exact($0), by: w)
        }
        GradientCheck.expectClose(dx.elements, gradient.map { $0 + 2 }, within: tolerance)
    }
}

@Suite struct `Gated activation` {
    @Test(arguments: InstructionSet.supported, [1, 15, 17, 70])
    func `forward and backward agree with the equation`(set: InstructionSet, count: Int) {
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 2)
        // Out to ±8, where the sigmoid saturates.
        let (gate, up) = (random.floats(count, scale: 8), random.floats(count))
        let w = random.floats(count)

        let h = Buffer<Float>(count)
        GatedActivation.silu.forward(gate: gate, up: up, count: count, into: h.pointer, on: compute)
        let exact = Naive.swiglu(gate: gate.map(Double.init), up: up.map(Double.init))
        GradientCheck.expectClose(h.elements, exact, within: tolerance)

        let (dGate, dUp) = (Buffer(gate), Buffer(up))
        GatedActivation.silu.backward(
            w, gate: dGate.pointer, up: dUp.pointer, count: count, on: compute)
        GradientCheck.expectClose(
            dGate.elements,
            GradientCheck.centralDifferences(at: gate.map(Double.init)) {
                GradientCheck.weighted(Naive.swiglu(gate: $0, up: up.map(Double.init)), by: w)
            }, within: tolerance)
        GradientCheck.expectClose(
            dUp.elements,
            GradientCheck.centralDifferences(at: up.map(Double.init)) {
                GradientCheck.weighted(Naive.swiglu(gate: gate.map(Double.init), up: $0), by: w)
            }, within: tolerance)
    }
}

@Suite struct `Layer normalization and GELU` {
    @Test(arguments: InstructionSet.supported, [(1, 5), (7, 16), (3, 65)])
    func `forward and backward agree with the equation`(set: InstructionSet, shape: (Int, Int)) {
        let (rows, width) = shape
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 7)
        let x = random.floats(rows * width)
        let (weight, bias) = (random.floats(width), random.floats(width))
        let w = random.floats(rows * width)
        let norm = LayerNorm(weight: Buffer(weight), bias: Buffer(bias), epsilon: 1e-5)

        let (y, statistics) = (Buffer<Float>(x.count), LayerNorm.Statistics(rows))
        norm.forward(x, count: rows, into: y.pointer, statistics, on: compute)
        let exact = { Naive.layerNorm($0, weight: weight, bias: bias, epsilon: 1e-5) }
        GradientCheck.expectClose(y.elements, exact(x.map(Double.init)), within: tolerance)
        let d = Buffer(w)
        norm.backward(d.pointer, x: x, statistics, count: rows, on: compute)
        GradientCheck.expectClose(
            d.elements,
            GradientCheck.centralDifferences(at: x.map(Double.init)) {
                GradientCheck.weighted(exact($0), by: w)
            }, within: tolerance)

        let (h, dh) = (Buffer<Float>(x.count), Buffer(w))
        GELU.forward(x, count: x.count, into: h.pointer, on: compute)
        GradientCheck.expectClose(
            h.elements, Naive.gelu(x.map(Double.init)), within: tolerance)
        GELU.backward(dh.pointer, x: x, count: x.count, on: compute)
        GradientCheck.expectClose(
            dh.elements,
            GradientCheck.centralDifferences(at: x.map(Double.init)) {
                GradientCheck.weighted(Naive.gelu($0), by: w)
            }, within: tolerance)
    }
}

@Suite struct `Rotary embedding` {
    private static let scalings: [ModelConfiguration.RopeScaling?] = [
        nil, .linear(factor: 4),
        .llama3(
            factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaximumPositions: 32),
    ]

    @Test(arguments: scalings)
    func `forward and backward agree with the equation`(
        scaling: ModelConfiguration.RopeScaling?
    ) {
        let (heads, headSize, positions) = (3, 8, [0, 1, 2, 77, 0, 5])
        let configuration = tinyConfiguration(headSize: headSize, ropeScaling: scaling)
        let rotary = RotaryEmbedding(configuration, positions: 78)
        let compute = Compute(threads: 2, instructionSet: .supported[0])
        var random = SeededGenerator(seed: 3)
        let x = random.floats(positions.count * heads * headSize)
        let w = random.floats(x.count)
        let rows = positions.map { Int32($0) }
        let exact = { (x: [Double]) in
            Naive.rotary(
                x, heads: heads, headSize: headSize, positions: positions,
                frequencies: RotaryEmbedding.frequencies(configuration))
        }

        let y = Buffer(x)
        rotary.forward(
            y.pointer, heads: heads, positions: rows, count: rows.count, on: compute)
        GradientCheck.expectClose(y.elements, exact(x.map(Double.init)), within: tolerance)

        let dx = Buffer(w)
        rotary.backward(
            dx.pointer, heads: heads, positions: rows, count: rows.count, on: compute)
        let gradient = GradientCheck.centralDifferences(at: x.map(Double.init)) {
            GradientCheck.weighted(exact($0), by: w)
        }
        GradientCheck.expectClose(dx.elements, gradient, within: tolerance)
    }

    // Values of transformers 5.23 (ROPE_INIT_FUNCTIONS["llama3"]) for head size 16, theta 10000.
    @Test func `Llama 3 frequencies are those of transformers`() {
        let configuration = tinyConfiguration(headSize: 16, ropeScaling: Self.scalings[2])
        let expected: [Double] = [
            1.0, 0.0958399772644043, 0.012500000186264515,
            0.0039528473280370235, 0.0012499999720603228, 0.00039528473280370235,
            0.0001250000059371814, 3.9528473280370235e-05,
        ]
        let actual = RotaryEmbedding.frequencies(configuration)
        #expect(actual.count == expected.count)
        for (a, b) in zip(actual, expected) {
            // The interpolation is in fp32 there: a few units in the last place.
            #expect(abs(Double(a) - b) <= 1e-6 * b)
        }
    }
}

@Suite struct `Causal attention` {
    struct Shape: Sendable, CustomTestStringConvertible {
        var lengths: [Int]
        var heads: Int
        var keyValueHeads: Int
        var headSize: Int
        var testDescription: String { "\(lengths) rows, \(heads)/\(keyValueHeads) of \(headSize)" }
    }

    // One row alone, rows of unequal lengths, and one longer than a tile of 64 queries.
    private static let shapes = [
        Shape(lengths: [1], heads: 1, keyValueHeads: 1, headSize: 2),
        Shape(lengths: [5, 1, 9], heads: 4, keyValueHeads: 2, headSize: 4),
        Shape(lengths: [66], heads: 2, keyValueHeads: 1, headSize: 1),
    ]

    @Test(arguments: InstructionSet.supported, shapes)
    func `forward and backward agree with the equation`(set: InstructionSet, shape: Shape) {
        let compute = Compute(threads: 2, instructionSet: set)
        let attention = Attention(
            heads: shape.heads, keyValueHeads: shape.keyValueHeads, headSize: shape.headSize)
        let rows = shape.lengths.reduce(0, +)
        var random = SeededGenerator(seed: 4)
        let q = random.floats(rows * shape.heads * shape.headSize, scale: 2)
        let k = random.floats(rows * shape.keyValueHeads * shape.headSize, scale: 2)
        let v = random.floats(k.count)
        let w = random.floats(q.count)
        let exact = { (q: [Double], k: [Double], v: [Double]) in
            Naive.attention(
                q: q, k: k, v: v, lengths: shape.lengths, heads: shape.heads,
                keyValueHeads: shape.keyValueHeads, headSize: shape.headSize)
        }
        let (q64, k64, v64) = (q.map(Double.init), k.map(Double.init), v.map(Double.init))

        let (keys, values, o) = (Buffer(k), Buffer(v), Buffer<Float>(q.count))
        let spans = spans(shape, keys: keys, values: values)
        let scratch = (0..<2).map { _ in
            Buffer<Float>(Attention.scratchCount(keys: shape.lengths.max()!))
        }
        attention.forward(spans, q: q, into: o.pointer, scratch: scratch, on: compute)
        GradientCheck.expectClose(o.elements, exact(q64, k64, v64), within: tolerance)

        let (dq, dk, dv) = (
            Buffer<Float>(q.count), Buffer<Float>(k.count), Buffer<Float>(v.count)
        )
        attention.backward(
            spans, dOut: w, q: q, dq: dq.pointer, dk: dk.pointer, dv: dv.pointer,
            scratch: scratch, on: compute)
        GradientCheck.expectClose(
            dq.elements,
            GradientCheck.centralDifferences(at: q64) {
                GradientCheck.weighted(exact($0, k64, v64), by: w)
            }, within: tolerance, "dq")
        GradientCheck.expectClose(
            dk.elements,
            GradientCheck.centralDifferences(at: k64) {
                GradientCheck.weighted(exact(q64, $0, v64), by: w)
            }, within: tolerance, "dk")
        GradientCheck.expectClose(
            dv.elements,
            GradientCheck.centralDifferences(at: v64) {
                GradientCheck.weighted(exact(q64, k64, $0), by: w)
            }, within: tolerance, "dv")
    }

    @Test(arguments: InstructionSet.supported, [1, 2, 65])
    func `new rows over a past attend as the whole sequence does`(set: InstructionSet, new: Int) {
        let (length, heads, keyValueHeads, headSize) = (80, 4, 2, 4)
        let compute = Compute(threads: 2, instructionSet: set)
        let attention = Attention(
            heads: heads, keyValueHeads: keyValueHeads, headSize: headSize)
        var random = SeededGenerator(seed: 5)
        let q = random.floats(length * heads * headSize, scale: 2)
        let k = Buffer(random.floats(length * keyValueHeads * headSize, scale: 2))
        let v = Buffer(random.floats(k.count))
        let whole = Naive.attention(
            q: q.map(Double.init), k: k.elements.map(Double.init), v: v.elements.map(Double.init),
            lengths: [length], heads: heads, keyValueHeads: keyValueHeads, headSize: headSize)

        let width = heads * headSize
        let o = Buffer<Float>(new * width)
        let span = AttentionSpan(
            start: 0, count: new, past: length - new, keys: k.pointer, values: v.pointer)
        let scratch = (0..<2).map { _ in Buffer<Float>(Attention.scratchCount(keys: length)) }
        attention.forward(
            [span], q: Array(q.suffix(new * width)), into: o.pointer, scratch: scratch, on: compute)
        GradientCheck.expectClose(
            o.elements, Array(whole.suffix(new * width)), within: tolerance)
    }

    private func spans(
        _ shape: Shape, keys: Buffer<Float>, values: Buffer<Float>
    ) -> [AttentionSpan] {
        var start = 0
        return shape.lengths.map { length in
            defer { start += length }
            let offset = start * shape.keyValueHeads * shape.headSize
            return AttentionSpan(
                start: start, count: length, past: 0, keys: keys.pointer + offset,
                values: values.pointer + offset)
        }
    }
}

@Suite struct `Linear layer with a low-rank term` {
    @Test(
        arguments: InstructionSet.supported,
        [(1, 6, 5, 2, 0), (5, 34, 17, 3, 0), (5, 34, 17, 3, 0.4)])
    func `forward and backward agree with the equation`(
        set: InstructionSet, shape: (Int, Int, Int, Int, dropout: Double)
    ) {
        let (rows, columns, outputs, rank, probability) = shape
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 6)
        let weight = Buffer(random.floats(outputs * columns))
        let (a, b) = (random.floats(rank * columns), random.floats(outputs * rank))
        let x = random.floats(rows * columns)
        let w = random.floats(rows * outputs)
        let scale: Float = 0.75
        let linear = Linear(
            weight: .stored(matrix(weight, rows: outputs, columns: columns)))
        let delta = LowRankDelta(a: Buffer(a), b: Buffer(b), rank: rank, scale: scale)
        let scratch = LinearScratch(tokens: rows, on: compute)
        scratch.reserve(delta, drops: probability > 0)
        let dropout = probability == 0 ? nil : dropout(probability, tokens: rows)
        let mask = Buffer([Float](repeating: 1, count: x.count))
        dropout?.apply(
            mask.pointer, rows: 0..<rows, width: columns, into: mask.pointer, on: compute)
        #expect((probability > 0) == mask.elements.contains(0))
        let exact = { (x: [Double], a: [Double], b: [Double]) -> [Double] in
            let base = Naive.product(x, weight.elements.map(Double.init), columns: columns)
            let seen = zip(x, mask.elements).map { $0 * Double($1) }
            let low = Naive.product(
                Naive.product(seen, a, columns: columns), b, columns: rank)
            return zip(base, low).map { $0 + Double(scale) * $1 }
        }
        let (x64, a64, b64) = (x.map(Double.init), a.map(Double.init), b.map(Double.init))

        let y = Buffer<Float>(rows * outputs)
        linear.forward(
            x, count: rows, delta: delta, dropout: dropout, into: y.pointer, scratch: scratch,
            on: compute)
        GradientCheck.expectClose(y.elements, exact(x64, a64, b64), within: tolerance)

        // dx starts as garbage and is overwritten; dA and dB are added to.
        let dx = Buffer([Float](repeating: .nan, count: x.count))
        let gradient = LowRankGradient(
            a: Buffer([Float](repeating: 1, count: a.count)),
            b: Buffer([Float](repeating: 1, count: b.count)))
        linear.backward(
            w, x: x, count: rows, delta: delta, dropout: dropout, gradient: gradient,
            into: dx.pointer, accumulate: false, scratch: scratch, on: compute)
        let dx64 = GradientCheck.centralDifferences(at: x64) {
            GradientCheck.weighted(exact($0, a64, b64), by: w)
        }
        GradientCheck.expectClose(dx.elements, dx64, within: tolerance, "dx")
        GradientCheck.expectClose(
            gradient.a.elements,
            GradientCheck.centralDifferences(at: a64) {
                GradientCheck.weighted(exact(x64, $0, b64), by: w)
            }.map { $0 + 1 }, within: tolerance, "dA")
        GradientCheck.expectClose(
            gradient.b.elements,
            GradientCheck.centralDifferences(at: b64) {
                GradientCheck.weighted(exact(x64, a64, $0), by: w)
            }.map { $0 + 1 }, within: tolerance, "dB")

        // Where A does not learn the rest is the same, with dx and without.
        for dx in [dx, nil] {
            let fixed = LowRankGradient(a: Buffer(0), b: Buffer(b.count))
            linear.backward(
                w, x: x, count: rows, delta: delta, dropout: dropout, gradient: fixed,
                into: dx?.pointer, accumulate: false, scratch: scratch, on: compute)
            GradientCheck.expectClose(
                fixed.b.elements, gradient.b.array.map { Double($0) - 1 }, within: tolerance,
                "dB, A fixed")
        }
        GradientCheck.expectClose(dx.elements, dx64, within: tolerance, "dx, A fixed")

        linear.backward(
            w, x: x, count: rows, delta: delta, dropout: dropout, gradient: nil, into: dx.pointer,
            accumulate: true, scratch: scratch, on: compute)
        GradientCheck.expectClose(
            dx.elements, dx64.map { 2 * $0 }, within: tolerance, "dx, accumulated")
    }

    private func dropout(_ probability: Double, tokens: Int) -> Dropout {
        let row = [Int32](repeating: 0, count: tokens)
        return Dropout(
            probability: probability,
            keys: NoiseKeys([TrainingRow(inputIDs: row, labels: row)], seed: 1), place: 1)
    }
}

@Suite struct `Linear layer with scaled outputs` {
    @Test(arguments: InstructionSet.supported, [(1, 6, 5, 2), (5, 34, 17, 3)])
    func `forward and backward agree with the equation`(
        set: InstructionSet, shape: (Int, Int, Int, Int)
    ) {
        let (rows, columns, outputs, rank) = shape
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 8)
        let weight = Buffer(random.floats(outputs * columns))
        let (a, b) = (random.floats(rank * columns), random.floats(outputs * rank))
        // A zero and a tiny one among scales of either sign: their gradients are like the others'.
        var c = random.floats(outputs, scale: 2)
        (c[0], c[1]) = (0, 1e-20)
        let x = random.floats(rows * columns)
        let w = random.floats(rows * outputs)
        let scale: Float = 0.75
        let stored = LinearWeight.stored(matrix(weight, rows: outputs, columns: columns))
        let linear = Linear(weight: stored)
        let delta = LowRankDelta(
            a: Buffer(a), b: Buffer(b), rank: rank, scale: scale, outputScale: Buffer(c))
        let scratch = LinearScratch(tokens: rows, on: compute)
        scratch.reserve(delta)
        let exact = { (x: [Double], a: [Double], b: [Double], c: [Double]) -> [Double] in
            let base = Naive.product(x, weight.elements.map(Double.init), columns: columns)
            let low = Naive.product(
                Naive.product(x, a, columns: columns), b, columns: rank)
            return zip(base, low).enumerated().map { i, terms in
                c[i % outputs] * (terms.0 + Double(scale) * terms.1)
            }
        }
        let (x64, a64, b64, c64) = (
            x.map(Double.init), a.map(Double.init), b.map(Double.init), c.map(Double.init)
        )
        let y64 = exact(x64, a64, b64, c64)

        // Overwritten; added to what is there, which is not scaled; beside a layer without scales.
        let y = Buffer([Float](repeating: .nan, count: rows * outputs))
        linear.forward(
            x, count: rows, delta: delta, into: y.pointer, scratch: scratch, on: compute)
        GradientCheck.expectClose(y.elements, y64, within: tolerance)
        linear.forward(
            x, count: rows, delta: delta, accumulate: true, into: y.pointer, scratch: scratch,
            on: compute)
        GradientCheck.expectClose(y.elements, y64.map { 2 * $0 }, within: tolerance, "added")
        let plain = Buffer<Float>(rows * outputs)
        LinearGroup([linear, Linear(weight: stored)]).forward(
            x, count: rows, delta: { $0 == 0 ? delta : nil },
            dropout: { _ in nil }, into: { $0 == 0 ? y.pointer : plain.pointer },
            scratch: scratch, on: compute)
        GradientCheck.expectClose(y.elements, y64, within: tolerance, "grouped")
        let base = Naive.product(x64, weight.elements.map(Double.init), columns: columns)
        GradientCheck.expectClose(plain.elements, base, within: tolerance, "beside")

        let dx = Buffer([Float](repeating: .nan, count: x.count))
        func ones(_ count: Int) -> Buffer<Float> { Buffer([Float](repeating: 1, count: count)) }
        let gradient = LowRankGradient(
            a: ones(a.count), b: ones(b.count), outputScale: ones(c.count))
        linear.backward(
            w, x: x, count: rows, delta: delta, gradient: gradient, into: dx.pointer,
            accumulate: false, scratch: scratch, on: compute)
        func differences(_ at: [Double], _ f: ([Double]) -> [Double]) -> [Double] {
            GradientCheck.centralDifferences(at: at) { GradientCheck.weighted(f($0), by: w) }
        }
        let dx64 = differences(x64) { exact($0, a64, b64, c64) }
        GradientCheck.expectClose(dx.elements, dx64, within: tolerance, "dx")
        for (actual, expected, name) in [
            (gradient.a, differences(a64) { exact(x64, $0, b64, c64) }, "dA"),
            (gradient.b, differences(b64) { exact(x64, a64, $0, c64) }, "dB"),
            (gradient.outputScale ?? ones(0), differences(c64) { exact(x64, a64, b64, $0) }, "dc"),
        ] {
            GradientCheck.expectClose(
                actual.elements, expected.map { $0 + 1 }, within: tolerance, name)
        }

        // Factors that do not learn.
        linear.backward(
            w, x: x, count: rows, delta: delta, gradient: nil, into: dx.pointer, accumulate: true,
            scratch: scratch, on: compute)
        GradientCheck.expectClose(
            dx.elements, dx64.map { 2 * $0 }, within: tolerance, "dx, accumulated")
    }
}

@Suite struct `Chunked cross-entropy` {
    private let rows = 9
    private let width = 12
    private let vocabulary = 37
    // Row 3 has no target.
    private let targets: [(row: Int, token: Int)] = [
        (0, 3), (1, 36), (2, 0), (4, 7), (5, 7), (6, 20), (7, 1), (8, 2),
    ]

    // Chunks of 1, of some, and of more positions than there are.
    @Test(arguments: InstructionSet.supported, [(1, 0), (3, 0), (100, 0), (1, 0.1), (3, 0.75)])
    func `loss and gradient agree with the equation`(
        set: InstructionSet, options: (chunk: Int, smoothing: Double)
    ) {
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 7)
        let output = Buffer(random.floats(vocabulary * width))
        let h = random.floats(rows * width, scale: 2)
        func exact(_ h: [Double], smoothing: Double) -> [Double] {
            Naive.crossEntropy(
                h, w: output.elements.map(Double.init), width: width, targets: targets,
                smoothing: smoothing)
        }
        let crossEntropy = CrossEntropy(
            output: .stored(matrix(output, rows: vocabulary, columns: width)),
            chunk: options.chunk, labelSmoothing: options.smoothing, on: compute)
        let production = targets.map { CrossEntropy.Target(row: $0.row, token: Int32($0.token)) }

        // What is evaluated is never smoothed.
        var losses: [Float] = []
        crossEntropy.forward(h, targets: production, on: compute) {
            #expect($0 == losses.count)
            losses.append($1)
        }
        GradientCheck.expectClose(
            losses, exact(h.map(Double.init), smoothing: 0), within: tolerance)

        let dh = Buffer([Float](repeating: .nan, count: h.count))
        var trained: [Float] = []
        crossEntropy.forwardBackward(
            h, rows: rows, targets: production, lossScale: 0.5, into: dh.pointer, on: compute
        ) {
            #expect($0 == trained.count)
            trained.append($1)
        }
        GradientCheck.expectClose(
            trained, exact(h.map(Double.init), smoothing: options.smoothing), within: tolerance)
        if options.smoothing == 0 { #expect(trained == losses) }
        let gradient = GradientCheck.centralDifferences(at: h.map(Double.init)) {
            0.5 * exact($0, smoothing: options.smoothing).reduce(0, +)
        }
        GradientCheck.expectClose(dh.elements, gradient, within: tolerance)
        #expect(dh.elements[3 * width..<4 * width].allSatisfy { $0 == 0 })
    }

    // torch 2.15, float64: cross_entropy(z, tensor([1]), label_smoothing=0.1).
    @Test func `smoothed losses are torch's`() {
        let compute = Compute(threads: 1)
        let identity = Buffer<Float>([1, 0, 0, 0, 1, 0, 0, 0, 1])
        let crossEntropy = CrossEntropy(
            output: .stored(matrix(identity, rows: 3, columns: 3)), labelSmoothing: 0.1,
            on: compute)
        let dh = Buffer<Float>(3)
        crossEntropy.forwardBackward(
            [1, 2, -1], rows: 1, targets: [.init(row: 0, token: 1)], lossScale: 1,
            into: dh.pointer, on: compute
        ) { GradientCheck.expectClose([$1], [0.4823455501015197], within: tolerance) }
        GradientCheck.expectClose(
            dh.elements, [0.2261631270090858, -0.22794882063509214, 0.0017856936260063974],
            within: tolerance)
    }
}

private func matrix(_ floats: Buffer<Float>, rows: Int, columns: Int) -> WeightMatrix {
    WeightMatrix(
        floats: floats.pointer, type: QUANT_F32, rows: rows, columns: columns, owner: floats)
}

private func tinyConfiguration(
    headSize: Int, ropeScaling: ModelConfiguration.RopeScaling?
) -> ModelConfiguration {
    ModelConfiguration(
        hiddenSize: 64, intermediateSize: 160, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
        headSize: headSize, vocabularySize: 256, maximumPositions: 256, normEpsilon: 1e-6,
        ropeTheta: 10000, ropeScaling: ropeScaling, tiesEmbeddings: true)
}
