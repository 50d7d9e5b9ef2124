import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

private let models = ["bert_cls", "deberta_v3_cls"]

/// A tiny encoder with a classifier, and what transformers made of a batch of three rows.
private struct TinyEncoder {
    let model: EncoderModel
    let golden: GoldenFile
    let rows: [TrainingRow]
    /// The norm of every weight's gradient, by name.
    let gradientNorms: [String: Double]
    let loss: Double

    init(_ name: String, precision: Precision = .fp32) throws {
        let folder = "tiny/\(name)"
        model = try EncoderModel(
            checkpoint: Checkpoints.open(modelResource(folder).path),
            on: Compute(precision: precision))
        let golden = try GoldenFile(modelResource("\(folder)/golden.safetensors"))
        self.golden = golden
        let (ids, mask) = (golden.int32s("input_ids"), golden.int32s("attention_mask"))
        let types =
            golden.contains("token_type_ids")
            ? golden.int32s("token_type_ids") : ids.map { _ in 0 }
        let (labels, width) = (golden.int32s("labels"), golden.shape("input_ids")[1])
        rows = labels.enumerated().map { row, label in
            let tokens = (row * width..<(row + 1) * width).filter { mask[$0] == 1 }
            return TrainingRow(
                inputIDs: tokens.map { ids[$0] },
                firstTextCount: tokens.count { types[$0] == 0 }, target: .label(Int(label)))
        }
        let json = try JSON(contentsOf: modelResource("\(folder)/golden.json").path)
        loss = json["loss"]?.double ?? .nan
        gradientNorms = (json["grad_norms"]?.object ?? [:]).reduce(into: [:]) {
            $0[$1.key] = $1.value.double
        }
    }

    /// An adapter that changes nothing and whose dB are the gradients of the weights themselves:
    /// d loss / dB = dYᵀ X Aᵀ, and A is the identity.
    func weightGradients() -> HeadAdapter {
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<model.configuration.layerCount {
            for entry in model.configuration.modules.entries {
                let a = Buffer<Float>(entry.inputs * entry.inputs)
                for i in 0..<entry.inputs { a[i * entry.inputs + i] = 1 }
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: a, b: Buffer(entry.outputs * entry.inputs), rank: entry.inputs, scale: 1)
            }
        }
        return HeadAdapter(TestAdapter(deltas), head: model.headTensors)
    }
}

/// An adapter with a head of its own, all of which learns.
private final class HeadAdapter: TrainableLowRankDeltas {
    let adapter: TestAdapter
    let head: [String: Buffer<Float>]
    let headGradients: [String: Buffer<Float>]

    init(_ adapter: TestAdapter, head: [String: Buffer<Float>]) {
        self.adapter = adapter
        self.head = head
        headGradients = head.mapValues { Buffer($0.count) }
    }

    func delta(at path: ModulePath) -> LowRankDelta? { adapter.delta(at: path) }
    func gradient(at path: ModulePath) -> LowRankGradient? { adapter.gradient(at: path) }
    func tensor(_ name: String) -> Buffer<Float>? { head[name] }
    func gradient(ofTensor name: String) -> Buffer<Float>? { headGradients[name] }
}

private func norm(_ values: some Sequence<Float>) -> Double {
    values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
}

@Suite struct `A tiny encoder` {
    // transformers' own logits in fp32, of size 1: 1e-5 is a hundred units in the last place; a wrong bucket
    // or mask shows in the first digits.
    private static let tolerance: Float = 1e-5

    @Test(arguments: models)
    func `logits and hidden states are those of transformers`(name: String) throws {
        let tiny = try TinyEncoder(name)
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 2, precision: .fp32), maximumTokens: 120)
        let logits = try pass.logits(of: tiny.rows, adapter: nil)
        let worst = zip(logits.joined(), tiny.golden.floats("logits")).map { abs($0 - $1) }.max()
        #expect(logits.count == 3 && logits.allSatisfy { $0.count == 3 })
        #expect(try #require(worst) <= Self.tolerance)

        let expected = tiny.golden.floats("hidden_states_last")
        let (width, C) = (tiny.golden.shape("input_ids")[1], tiny.model.configuration.hiddenSize)
        var largest: Float = 0
        try pass.hiddenStates(of: tiny.rows, adapter: nil) { row, states, count in
            #expect(count == tiny.rows[row].inputIDs.count)
            for i in 0..<count * C {
                largest = max(largest, abs(states[i] - expected[row * width * C + i]))
            }
        }
        #expect(largest <= Self.tolerance)
        #expect(
            try pass.logits(of: [tiny.rows[1]], adapter: nil)[0].elementsEqual(logits[1]) {
                abs($0 - $1) <= Self.tolerance
            }, "a row does not depend on those beside it")
    }

    @Test(arguments: models, [true, false])
    func `loss and gradients of every weight are those of transformers`(
        name: String, recomputes: Bool
    ) throws {
        let tiny = try TinyEncoder(name)
        let adapter = tiny.weightGradients()
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 2, precision: .fp32), maximumTokens: 120,
            purpose: .training(recomputesBlocks: recomputes))
        // Twice, at half the scale: gradients are added, and no call disturbs the next. The mean of 3 rows.
        for _ in 0..<2 {
            let (loss, targets) = try pass.accumulate(
                tiny.rows, adapter: adapter, lossScale: 0.5 / 3)
            #expect(targets == 3)
            #expect(abs(loss / 3 - tiny.loss) <= 1e-5 * tiny.loss)
        }
        // Norms as PyTorch has them in fp32; the sums behind them have some hundred terms.
        func check(_ actual: Double, _ name: String) throws {
            let expected = try #require(tiny.gradientNorms[name], "\(name)")
            #expect(abs(actual - expected) <= 1e-4 * max(expected, 0.1), "\(name)")
        }
        for (path, gradient) in adapter.adapter.gradients {
            try check(norm(gradient.b.elements), "\(path).weight")
            let recorded = "grad/\(path).weight"
            if tiny.golden.contains(recorded) {
                GradientCheck.expectClose(
                    gradient.b.elements, tiny.golden.doubles(recorded), within: 1e-5, recorded)
            }
        }
        #expect(adapter.headGradients.count == 4)
        for (name, gradient) in adapter.headGradients { try check(norm(gradient.elements), name) }
    }

    @Test(arguments: models)
    func `an adapter's gradients are those of finite differences`(name: String) throws {
        let tiny = try TinyEncoder(name)
        var random = SeededGenerator(seed: 3)
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<2 {
            for entry in tiny.model.configuration.modules.entries {
                let hasScale = entry.module.name.hasPrefix("key")
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: Buffer(random.floats(2 * entry.inputs, scale: 0.2)),
                    b: Buffer(random.floats(2 * entry.outputs, scale: 0.2)), rank: 2, scale: 0.7,
                    outputScale: hasScale ? Buffer(random.floats(entry.outputs)) : nil)
            }
        }
        let adapter = HeadAdapter(TestAdapter(deltas), head: tiny.model.headTensors)
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 2, precision: .fp32), maximumTokens: 120,
            purpose: .training(recomputesBlocks: false))
        _ = try pass.accumulate(tiny.rows, adapter: adapter, lossScale: 1)
        // A step along a whole tensor's gradient: (L(w + h g) − L(w − h g)) / 2h = g · g. At h that moves the
        // loss by some 1e-2, rounding of the loss (1e-6) and curvature leave 1 in 1,000.
        func check(_ values: Buffer<Float>, _ gradient: Buffer<Float>, _ what: String) throws {
            let square = gradient.elements.reduce(0) { $0 + Double($1) * Double($1) }
            guard square > 1e-8 else { return }
            let step = Float(0.005 / square)
            let before = values.array
            func loss(_ sign: Float) throws -> Double {
                for i in 0..<values.count { values[i] = before[i] + sign * step * gradient[i] }
                defer { _ = values.elements.update(from: before) }
                return try pass.evaluate(tiny.rows, adapter: adapter).loss
            }
            let measured = (try loss(1) - loss(-1)) / (2 * Double(step))
            #expect(abs(measured - square) <= 0.01 * square, "\(what)")
        }
        for (path, delta) in deltas {
            let gradient = try #require(adapter.gradient(at: path))
            try check(delta.a, gradient.a, "\(path) A")
            try check(delta.b, gradient.b, "\(path) B")
            if let c = delta.outputScale, let dc = gradient.outputScale {
                try check(c, dc, "\(path) c")
            }
        }
        for (name, values) in adapter.head {
            try check(values, try #require(adapter.headGradients[name]), name)
        }
    }

    @Test(arguments: models)
    func `an adapter of a few layers gets the gradients they have among all`(name: String) throws {
        let tiny = try TinyEncoder(name)
        let all = tiny.weightGradients()
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 2, precision: .fp32), maximumTokens: 120,
            purpose: .training(recomputesBlocks: true))
        _ = try pass.accumulate(tiny.rows, adapter: all, lossScale: 1)
        let modules = tiny.model.configuration.modules.all
        // Attention's output, the feed-forward layer's two halves, keys; and the head alone.
        for paths in [
            [ModulePath(layer: 1, module: modules[3])], [ModulePath(layer: 1, module: modules[5])],
            [ModulePath(layer: 0, module: modules[4]), ModulePath(layer: 1, module: modules[1])],
            [],
        ] {
            let few = HeadAdapter(
                TestAdapter(all.adapter.deltas.filter { paths.contains($0.key) }),
                head: tiny.model.headTensors)
            _ = try pass.accumulate(tiny.rows, adapter: few, lossScale: 1)
            for path in paths {
                // The same operations on the same numbers.
                #expect(few.gradient(at: path)?.b.array == all.gradient(at: path)?.b.array)
            }
            #expect(
                few.headGradients["classifier.weight"]?.array
                    == all.headGradients["classifier.weight"]?.array)
        }
    }

    @Test func `numbers are targets of a head with one output, and classes are within it`() throws {
        let tiny = try TinyEncoder("bert_cls")
        let C = tiny.model.configuration.hiddenSize
        var head = tiny.model.headTensors
        head["classifier.weight"] = Buffer(Array(head["classifier.weight"]?.array.prefix(C) ?? []))
        head["classifier.bias"] = Buffer([0.5])
        let adapter = HeadAdapter(TestAdapter([:]), head: head)
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 1, precision: .fp32), maximumTokens: 120,
            purpose: .training(recomputesBlocks: true))
        var row = tiny.rows[0]
        let output = try pass.logits(of: [row], adapter: adapter)[0]
        row.target = .value(output[0] - 3)
        let (loss, _) = try pass.accumulate([row], adapter: adapter, lossScale: 0.25)
        // (z − y)², whose gradient in the bias is 2 (z − y); z and y are near 1.
        #expect(abs(loss - 9) < 1e-5)
        #expect(abs((adapter.headGradients["classifier.bias"]?[0] ?? 0) - 0.25 * 6) < 1e-5)
        #expect(throws: LorikeetError.self) {
            try pass.accumulate(
                [tiny.rows[0]], adapter: HeadAdapter(TestAdapter([:]), head: head), lossScale: 1)
        }
        row.target = .label(3)
        #expect(throws: LorikeetError.self) { try pass.evaluate([row], adapter: NoDeltas()) }
    }

    @Test func `what the model cannot take is refused`() throws {
        let tiny = try TinyEncoder("deberta_v3_cls")
        let pass = EncoderPass(
            model: tiny.model, compute: Compute(threads: 1, precision: .fp32), maximumTokens: 70)
        for tokens: [Int32] in [
            [], [256], [-1], Array(repeating: 1, count: 65), Array(repeating: 1, count: 71),
        ] {
            #expect(throws: LorikeetError.self) {
                try pass.logits(of: [TrainingRow(inputIDs: tokens, target: nil)], adapter: nil)
            }
        }
        let folder = modelResource("tiny/deberta_v3_cls").path
        let json = try JSON(contentsOf: folder + "/config.json")
        for (key, value) in [
            ("share_att_key", false), ("relative_attention", false), ("conv_kernel_size", 3),
            ("pos_att_type", ["c2p"]), ("hidden_act", "relu"), ("norm_rel_ebd", "rms"),
            ("model_type", "roberta"), ("hidden_size", 63), ("type_vocab_size", -1),
            ("embedding_size", 32), ("pooler_hidden_act", "tanh"),
        ] as [(String, JSON)] {
            var changed = json
            changed[key] = value
            #expect(throws: LorikeetError.self, "\(key)") {
                try EncoderConfiguration(changed, source: "config.json")
            }
        }
    }

    @Test(
        arguments: models,
        [(Precision.fp32, false), (.fp32, true), (.int16, false), (.int16, true)])
    func `a pass takes what the formula says`(
        name: String, way: (precision: Precision, recomputes: Bool)
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/nf4"
            let report = try quantize(
                source: Checkpoints.open(modelResource("tiny/\(name)").path), to: path,
                options: QuantizeOptions(), replace: false, compute: Compute())
            // The blocks' layers alone: pooler and classifier stay in floats.
            #expect(report.quantizedParameters == 2 * (4 * 64 * 64 + 2 * 64 * 128))
            let compute = Compute(threads: 2, precision: way.precision)
            let model = try EncoderModel(checkpoint: Checkpoints.open(path), on: compute)
            let configuration = model.configuration
            var random = SeededGenerator(seed: 3)
            var deltas: [ModulePath: LowRankDelta] = [:]
            for layer in 0..<2 {
                for entry in configuration.modules.entries {
                    deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                        a: Buffer(random.floats(4 * entry.inputs, scale: 0.1)),
                        b: Buffer(random.floats(entry.outputs * 4, scale: 0.1)), rank: 4, scale: 1)
                }
            }
            let adapter = HeadAdapter(TestAdapter(deltas), head: model.headTensors)
            let rows = [TrainingRow](
                repeating: TrainingRow(
                    inputIDs: (0..<60).map { $0 * 3 + 5 }, target: .label(1)), count: 3)
            let measured = try AllocationMeter.measure {
                let pass = EncoderPass(
                    model: model, compute: compute, maximumTokens: 180,
                    purpose: .training(recomputesBlocks: way.recomputes))
                _ = try pass.accumulate(rows, adapter: adapter, lossScale: 1)
                return pass
            }
            let planned = EncoderPass.memory(
                configuration,
                TrainingPass.Dimensions(
                    tokens: 180, longestRow: 60, rank: 4, modules: configuration.modules.all,
                    recomputesBlocks: way.recomputes, precision: way.precision,
                    threads: compute.pool.count))
            // The kernels' scratch was there before.
            #expect(measured.bytes == planned - Compute.memory(threads: compute.pool.count))
        }
    }
}
