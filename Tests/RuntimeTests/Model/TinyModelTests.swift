import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

private let models = ["llama_plain_mha", "llama_rope3_gqa_tied"]

/// Those, and what else there is: see Tests/interop/tiny_models.py.
let tinyDecoders =
    models + [
        "mistral_sw8", "qwen2_bias_tied", "qwen3_window", "gemma2", "gemma3", "phi3_longrope",
    ]

private func tinyModel(_ name: String) throws -> DecoderModel {
    try DecoderModel(
        checkpoint: Checkpoints.open(modelResource("tiny/\(name)").path),
        on: Compute(precision: .fp32))
}

/// The recorded batch without its padding: one array of tokens a row.
private func rows(_ golden: GoldenFile) -> [[Int32]] {
    let (ids, mask) = (golden.int32s("input_ids"), golden.int32s("attention_mask"))
    let width = golden.shape("input_ids")[1]
    return stride(from: 0, to: ids.count, by: width).map { start in
        (start..<start + width).filter { mask[$0] == 1 }.map { ids[$0] }
    }
}

@Suite struct `A tiny model's inference` {
    // transformers' own logits, fp32; two blocks of width 64 and logits near 10: 1e-4 is some 10 units
    // in the last place, a wrong rotation or mask shows in the first digit.
    private static let tolerance: Float = 1e-4

    @Test(arguments: tinyDecoders, [512, 7])
    func `logits are those of transformers, whatever the chunk`(name: String, chunk: Int) throws {
        let golden = try GoldenFile(modelResource("tiny/\(name)/golden.safetensors"))
        let model = try tinyModel(name)
        let compute = Compute(threads: 2, precision: .fp32)
        let pass = InferencePass(model: model, compute: compute, chunk: chunk)
        let expected = golden.floats("logits")
        let (width, V) = (golden.shape("input_ids")[1], model.configuration.vocabularySize)
        for (index, row) in rows(golden).enumerated() {
            let cache = pass.makeCache()
            let logits = try pass.forward(row, cache: cache, adapter: nil, logits: .all)
            #expect(logits.count == row.count * V)
            #expect(cache.count == row.count)
            let start = index * width * V
            let worst = zip(logits, expected[start..<start + row.count * V]).map {
                abs($0 - $1)
            }.max()
            #expect(try #require(worst) <= Self.tolerance)
        }
    }

    @Test(arguments: tinyDecoders)
    func `over halves, logits stay near`(name: String) throws {
        let golden = try GoldenFile(modelResource("tiny/\(name)/golden.safetensors"))
        let compute = Compute(threads: 2, precision: .int16)
        let model = try DecoderModel(
            checkpoint: Checkpoints.open(modelResource("tiny/\(name)").path), on: compute)
        let expected = golden.floats("logits")
        let V = model.configuration.vocabularySize
        let row = rows(golden)[0]
        for chunk in [1, 7, 512] {
            let pass = InferencePass(model: model, compute: compute, chunk: chunk)
            let logits = try pass.forward(
                row, cache: pass.makeCache(), adapter: nil, logits: .all)
            let worst = zip(logits, expected[..<(row.count * V)]).map { abs($0 - $1) }.max()
            // Weights that are floats become 8 bits a block of 64, a part in 250 each: of logits near 10
            // the errors of some hundred products leave 0.04 at worst. A position too many or too few in
            // the window would show in the first digit.
            #expect(try #require(worst) <= 0.1)
        }
    }

    @Test(arguments: tinyDecoders)
    func `token by token gives what the whole prompt gives`(name: String) throws {
        let golden = try GoldenFile(modelResource("tiny/\(name)/golden.safetensors"))
        let model = try tinyModel(name)
        let pass = InferencePass(model: model, compute: Compute(threads: 2, precision: .fp32))
        let V = model.configuration.vocabularySize
        let row = rows(golden)[0]
        let whole = Array(
            try pass.forward(row, cache: pass.makeCache(), adapter: nil, logits: .all))
        let cache = pass.makeCache(capacity: row.count)
        for (i, token) in row.enumerated() {
            let logits = try pass.forward([token], cache: cache, adapter: nil)
            let worst = zip(logits, whole[i * V..<(i + 1) * V]).map { abs($0 - $1) }.max()
            // The same sums in another order.
            #expect(try #require(worst) <= 1e-5 * 10)
        }
        // Going back and taking another turn forgets what was there.
        cache.truncate(to: 3)
        let again = try pass.forward(Array(row[3...]), cache: cache, adapter: nil)
        let worst = zip(again, whole.suffix(V)).map { abs($0 - $1) }.max()
        #expect(try #require(worst) <= 1e-5 * 10)
    }

    @Test func `log-probabilities are those of the logits`() throws {
        let golden = try GoldenFile(modelResource("tiny/llama_plain_mha/golden.safetensors"))
        let model = try tinyModel("llama_plain_mha")
        let pass = InferencePass(
            model: model, compute: Compute(threads: 2, precision: .fp32), chunk: 16)
        let row = rows(golden)[0]
        let V = model.configuration.vocabularySize
        let actual = try pass.logProbabilities(
            of: row, cache: pass.makeCache(), adapter: nil)
        let logits = golden.floats("logits")
        let expected = (0..<row.count - 1).map { i in
            let z = logits[i * V..<(i + 1) * V].map(Double.init)
            return z[Int(row[i + 1])] - log(z.reduce(0) { $0 + exp($1) })
        }
        GradientCheck.expectClose(actual, expected, within: Double(Self.tolerance))
    }

    @Test func `bad tokens and overlong sequences are refused, and the cache stays as it was`()
        throws
    {
        let model = try tinyModel("llama_plain_mha")
        let pass = InferencePass(model: model, compute: Compute(threads: 1, precision: .fp32))
        let cache = pass.makeCache(capacity: 4)
        for tokens: [Int32] in [[], [256], [-1], [1, 2, 3, 4, 5]] {
            #expect(throws: LorikeetError.self) {
                try pass.forward(tokens, cache: cache, adapter: nil)
            }
        }
        _ = try pass.forward([1, 2, 3], cache: cache, adapter: nil)
        #expect(throws: LorikeetError.self) {
            try pass.forward([1, 2], cache: cache, adapter: nil)
        }
        #expect(cache.count == 3)
    }
}

@Suite struct `A tiny model's training` {
    /// What transformers recorded of the loss of the golden rows.
    private struct Recorded: Decodable {
        let loss: Double
        let grad_norms: [String: Double]
    }

    @Test(arguments: tinyDecoders, [true, false])
    func `gradients of all linear layers have transformers' norms`(
        name: String, recomputes: Bool
    ) throws {
        let golden = try GoldenFile(modelResource("tiny/\(name)/golden.safetensors"))
        let recorded = try JSONDecoder().decode(
            Recorded.self, from: Data(contentsOf: modelResource("tiny/\(name)/golden.json")))
        let model = try tinyModel(name)
        // With B = 1 and A = 0 of full rank the term changes nothing, and dA = Bᵀ dY X is dW.
        let modules = model.configuration.modules
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<modules.layerCount {
            for entry in modules.entries {
                let identity = Buffer<Float>(entry.outputs * entry.outputs)
                for i in 0..<entry.outputs { identity[i * entry.outputs + i] = 1 }
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: Buffer(entry.outputs * entry.inputs), b: identity, rank: entry.outputs,
                    scale: 1)
            }
        }
        let adapter = TestAdapter(deltas)
        let labels = golden.int32s("labels")
        let width = golden.shape("labels")[1]
        let rows = rows(golden).enumerated().map { index, ids in
            TrainingRow(
                inputIDs: ids, labels: Array(labels[index * width..<index * width + ids.count]))
        }
        let targets = rows.reduce(0) { $0 + $1.targetCount }
        let pass = TrainingPass(
            model: model, compute: Compute(threads: 2, precision: .fp32), maximumTokens: 3 * width,
            recomputesBlocks: recomputes)
        let (loss, count) = try pass.accumulate(
            rows, adapter: adapter, lossScale: 1 / Float(targets))
        #expect(count == targets)
        #expect(abs(loss / Double(targets) - recorded.loss) < 1e-5 * recorded.loss)
        for (path, gradient) in adapter.gradients {
            let norm = gradient.a.elements.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
            let expected = try #require(recorded.grad_norms["\(path).weight"])
            // fp32 on both sides, two blocks deep.
            #expect(abs(norm / expected - 1) < 1e-4, "\(path): \(norm), \(expected)")
        }
    }

    private func trainingRows(_ golden: GoldenFile) -> [TrainingRow] {
        (0..<3).map {
            TrainingRow(
                inputIDs: golden.int32s("row\($0)/input_ids"),
                labels: golden.int32s("row\($0)/labels"))
        }
    }

    @Test(arguments: models + ["llama_rope3_gqa_tied_dora"], [true, false])
    func `loss and gradients are those of PEFT`(name: String, recomputes: Bool) throws {
        let golden = try GoldenFile(modelResource("tiny_lora/\(name).safetensors"))
        let adapter = TestAdapter(golden, scale: 6 / 4)
        #expect(adapter.deltas.count == 14)
        let rows = trainingRows(golden)
        let pass = TrainingPass(
            model: try tinyModel(name.replacing("_dora", with: "")),
            compute: Compute(threads: 2, precision: .fp32), maximumTokens: 66,
            recomputesBlocks: recomputes)
        let expected = Double(golden.floats("loss")[0])
        // The sum of 42 losses in fp32 there.
        let evaluated = try pass.evaluate(rows, adapter: adapter)
        #expect(abs(evaluated.loss - expected) < 1e-5 * expected)
        // Twice, at half the scale: gradients are added, and no call disturbs the next.
        for _ in 0..<2 {
            let (loss, targets) = try pass.accumulate(rows, adapter: adapter, lossScale: 0.5)
            #expect(loss == evaluated.loss)
            #expect(targets == rows.reduce(0) { $0 + $1.targetCount })
        }
        for (path, gradient) in adapter.gradients {
            // Relative to the largest element: fp32 on both sides, two blocks deep.
            for (name, actual) in [
                ("lora_A.weight", gradient.a), ("lora_B.weight", gradient.b),
                ("output_scale", gradient.outputScale),
            ] {
                guard let actual else { continue }
                let expected = golden.doubles("grad/\(path).\(name)")
                let largest = expected.reduce(0) { max($0, abs($1)) }
                GradientCheck.expectClose(
                    actual.elements.map { $0 / Float(largest) }, expected.map { $0 / largest },
                    within: 1e-4, "\(path).\(name)")
            }
        }
    }

    @Test(arguments: [
        [ModulePath(layer: 1, module: .output)], [ModulePath(layer: 1, module: .down)],
        [ModulePath(layer: 0, module: .gate), ModulePath(layer: 1, module: .value)],
    ])
    func `an adapter of a few layers gets the gradients they have among all`(
        paths: [ModulePath]
    )
        throws
    {
        // The others' factors are zeroed, not taken away, in the run to compare with.
        let golden = try GoldenFile(modelResource("tiny_lora/llama_plain_mha.safetensors"))
        let all = TestAdapter(golden, scale: 1.5)
        for (path, delta) in all.deltas where !paths.contains(path) {
            delta.b.elements.update(repeating: 0)
        }
        let few = TestAdapter(all.deltas.filter { paths.contains($0.key) })
        let pass = TrainingPass(
            model: try tinyModel("llama_plain_mha"), compute: Compute(threads: 2, precision: .fp32),
            maximumTokens: 66, recomputesBlocks: true)
        let rows = trainingRows(golden)
        _ = try pass.accumulate(rows, adapter: all, lossScale: 1)
        _ = try pass.accumulate(rows, adapter: few, lossScale: 1)
        for path in paths {
            let (a, b) = (try #require(few.gradients[path]), try #require(all.gradients[path]))
            // The same operations on the same numbers.
            #expect(Array(a.a.elements) == Array(b.a.elements))
            #expect(Array(a.b.elements) == Array(b.b.elements))
            #expect(a.a.elements.contains { $0 != 0 })
        }
    }

    @Test(arguments: [true, false])
    func `rows may be weighted by their losses`(recomputes: Bool) throws {
        let golden = try GoldenFile(modelResource("tiny_lora/llama_plain_mha.safetensors"))
        let (adapter, reference) = (
            TestAdapter(golden, scale: 1.5), TestAdapter(golden, scale: 1.5)
        )
        let pass = TrainingPass(
            model: try tinyModel("llama_plain_mha"), compute: Compute(threads: 2, precision: .fp32),
            maximumTokens: 68, recomputesBlocks: recomputes)
        var rows = trainingRows(golden)
        // One without a target, one without tokens.
        rows.insert(TrainingRow(inputIDs: [1, 2], labels: [1, -100]), at: 1)
        rows.insert(TrainingRow(inputIDs: [], labels: []), at: 2)
        let weights: [Float] = [0.5, 3, 3, -0.25, 0]
        let losses = try pass.losses(of: rows, adapter: adapter)
        #expect(losses[1] == 0 && losses[2] == 0)
        try pass.accumulate(rows, adapter: adapter) {
            #expect($0 == losses)
            return weights
        }
        for (row, weight) in zip(rows, weights) {
            _ = try pass.accumulate([row], adapter: reference, lossScale: weight)
        }
        for (path, gradient) in adapter.gradients {
            let expected = try #require(reference.gradients[path])
            for (a, b) in [(gradient.a, expected.a), (gradient.b, expected.b)] {
                // The same products in fp32, summed in another order.
                GradientCheck.expectClose(a.array, b.array.map(Double.init), within: 1e-5)
                #expect(a.elements.contains { abs($0) > 1e-2 })
            }
        }
        let none = Array(repeating: TrainingRow(inputIDs: [1, 2], labels: [1, -100]), count: 2)
        try pass.accumulate(none, adapter: adapter) { _ in [1, 1] }
    }

    @Test func `the same rows give the same bytes, and rows do not see each other`() throws {
        let golden = try GoldenFile(modelResource("tiny_lora/llama_rope3_gqa_tied.safetensors"))
        let adapter = TestAdapter(golden, scale: 1.5)
        let pass = TrainingPass(
            model: try tinyModel("llama_rope3_gqa_tied"),
            compute: Compute(threads: 2, precision: .fp32),
            maximumTokens: 66, recomputesBlocks: false)
        let rows = trainingRows(golden)
        func gradients() throws -> [[Float]] {
            adapter.zeroGradients()
            _ = try pass.accumulate(rows, adapter: adapter, lossScale: 1)
            return adapter.gradients.sorted { "\($0.key)" < "\($1.key)" }.flatMap {
                [Array($0.value.a.elements), Array($0.value.b.elements)]
            }
        }
        #expect(try gradients() == gradients())
        let together = try pass.evaluate(rows, adapter: adapter).loss
        let alone = try rows.map { try pass.evaluate([$0], adapter: adapter).loss }.reduce(0, +)
        #expect(abs(together - alone) < 1e-5 * together)
    }

    @Test func `rows without targets cost nothing; too many tokens and bad labels are refused`()
        throws
    {
        let adapter = TestAdapter([:])
        let pass = TrainingPass(
            model: try tinyModel("llama_plain_mha"), compute: Compute(threads: 1, precision: .fp32),
            maximumTokens: 4, recomputesBlocks: true)
        let masked = TrainingRow(inputIDs: [1, 2, 3], labels: [1, -100, -100])
        #expect(try pass.accumulate([masked], adapter: adapter, lossScale: 1) == (0, 0))
        for row in [
            TrainingRow(inputIDs: [1, 2, 3, 4, 5], labels: [1, 2, 3, 4, 5]),
            TrainingRow(inputIDs: [1, 2], labels: [1, 256]),
            TrainingRow(inputIDs: [1, -1], labels: [1, 2]),
        ] {
            #expect(throws: LorikeetError.self) {
                try pass.accumulate([row], adapter: adapter, lossScale: 1)
            }
        }
    }
}
