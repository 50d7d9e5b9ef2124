import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Adapters that bring an embedding, a final norm or an output projection of their own (`modules_to_save`).
struct SavedModulesTests {
    private static let decoders = [
        "gemma2", "gemma3", "llama_plain_mha", "llama_rope3_gqa_tied", "mistral_sw8",
        "phi3_longrope", "qwen2_bias_tied", "qwen3_window",
    ]
    private static let embedding = "model.embed_tokens.weight"
    private static let norm = "model.norm.weight"
    private static let head = "lm_head.weight"

    private let folder: TemporaryFolder
    private let small = SmallMerge()

    init() throws { folder = try TemporaryFolder() }

    private func base(_ name: String) throws -> any Checkpoint {
        try Checkpoints.open(
            Fixtures.root.appending(path: "Tests/RuntimeTests/Resources/tiny/\(name)").path(
                percentEncoded: false))
    }

    private func shape(_ name: String, of model: ModelConfiguration) -> [Int] {
        name == Self.norm ? [model.hiddenSize] : [model.vocabularySize, model.hiddenSize]
    }

    /// The settings and tensors of an adapter at the output projection of block 0's attention; its B has elements
    /// of about `size`.
    private func writeAdapter(
        _ path: String, saving names: [String], modules: [String]? = nil, size: Float = 0,
        seed: UInt64 = 1, of model: ModelConfiguration
    ) throws -> String {
        var configuration = AdapterConfiguration(
            rank: 2, alpha: 4, targetModules: .list(["o_proj"]))
        configuration.layersToTransform = [0]
        configuration.modulesToSave =
            modules ?? names.map { String($0.dropLast(".weight".count)) }
        let place = ModulePath(layer: 0, module: .output)
        let (outputs, inputs) = LinearModule.output.shape(in: model)
        let b = noise(outputs * 2, seed: seed)
        for i in 0..<b.count { b[i] *= size }
        let delta = LowRankDelta(
            a: noise(inputs * 2, seed: seed + 1), b: b, rank: 2, scale: 2)
        let tensors = names.enumerated().map { index, name in
            let shape = shape(name, of: model)
            let values = noise(shape.reduce(1, *), seed: seed + 2 + UInt64(index))
            return (name, SavedTensor(shape: shape, values: values))
        }
        try Adapters.writePeftFolder(
            at: folder[path], configuration: configuration, deltas: [place: delta],
            tensors: Dictionary(uniqueKeysWithValues: tensors), replace: true)
        return folder[path]
    }

    private func tokens(_ count: Int, of model: ModelConfiguration) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 11) % model.vocabularySize) }
    }

    private func bits(
        _ tokens: [Int32], _ model: DecoderModel, _ adapter: Adapter?, on compute: Compute
    ) throws -> [UInt32] {
        let pass = InferencePass(model: model, compute: compute)
        let cache = pass.makeCache(capacity: tokens.count)
        return try pass.forward(
            tokens, cache: cache, adapter: pass.pack(adapter), logits: .all
        ).map(\.bitPattern)
    }

    /// A base whose own tensors are these is the reference: it reads them from the checkpoint, as every model.
    @Test(arguments: decoders, [[embedding], [norm], [head], [embedding, norm, head]])
    func `an adapter's own tensors count as the base's would`(
        name: String, saved: [String]
    ) throws {
        let checkpoint = try base(name)
        let configuration = try ModelConfiguration(checkpoint)
        let path = try writeAdapter("a", saving: saved, of: configuration)
        let adapter = try Adapters.load(path, for: configuration, allowNoEffect: true)
        for precision in [Precision.fp32, .int16, .int8] {
            let compute = Compute(threads: 2, precision: precision)
            let model = try DecoderModel(checkpoint: checkpoint, on: compute)
            let other = try DecoderModel(
                checkpoint: MergedCheckpoint(checkpoint, adapter, on: compute), on: compute)
            let tokens = tokens(20, of: configuration)
            let ours = try bits(tokens, model, adapter, on: compute)
            #expect(try ours == bits(tokens, other, nil, on: compute), "\(precision)")
            #expect(try ours != bits(tokens, model, nil, on: compute), "it does nothing")
        }
    }

    @Test(arguments: [Precision.fp32, .int16])
    func `sequences of one batch have each their adapter's own`(precision: Precision) throws {
        let checkpoint = try base("gemma2")
        let configuration = try ModelConfiguration(checkpoint)
        let compute = Compute(threads: 2, precision: precision, isBatchInvariant: true)
        let model = try DecoderModel(checkpoint: checkpoint, on: compute)
        let pass = InferencePass(model: model, compute: compute)
        let adapters: [PackedDeltas?] =
            try [
                writeAdapter("a", saving: [Self.head], size: 0.1, seed: 10, of: configuration),
                writeAdapter(
                    "b", saving: [Self.embedding, Self.norm], size: 0.1, seed: 20, of: configuration
                ),
                writeAdapter("c", saving: [], size: 0.1, seed: 30, of: configuration),
            ].map { pass.pack(try Adapters.load($0, for: configuration)) } + [nil]
        let rows = (1...9).map { tokens(3 * $0, of: configuration) }
        func inputs() -> [InferencePass.Input] {
            rows.enumerated().map { index, row in
                .init(
                    row, after: pass.makeCache(capacity: row.count),
                    adapter: adapters[index * 7 % 4])
            }
        }
        let alone = try inputs().map { try pass.forward([$0]).map(\.bitPattern) }
        let together = try pass.forward(inputs()).map(\.bitPattern)
        #expect(together == alone.flatMap { $0 })

        let targets = rows.map { row in
            row.indices.dropFirst().map {
                InferencePass.Target(position: $0 - 1, token: row[$0])
            }
        }
        let scores = try pass.logProbabilities(of: targets, in: inputs())
        for (index, row) in rows.enumerated() {
            let logits = Array(
                try pass.forward(
                    row, cache: pass.makeCache(capacity: row.count),
                    adapter: adapters[index * 7 % 4], logits: .all))
            let V = configuration.vocabularySize
            for (target, score) in zip(targets[index], scores[index]) {
                let z = logits[target.position * V..<(target.position + 1) * V].map(Double.init)
                let sum = z.reduce(0) { $0 + exp($1) }
                // Logits below 30, each a float: some units of 2⁻²⁴ of that.
                #expect(abs(Double(score) - (z[Int(target.token)] - log(sum))) < 2e-5)
            }
        }
    }

    @Test func `with ensure_weight_tying PEFT stores the output projection too`() throws {
        let configuration = try ModelConfiguration(small.base())
        let path = try writeAdapter(
            "a", saving: [Self.embedding, Self.head], modules: ["embed_tokens"], of: configuration)
        let error = try failure { _ = try Adapters.load(path, for: configuration) }
        #expect(error.code == .mismatch && error.got == "base_model.model.lm_head.weight")
        var json = try JSON(contentsOf: path + "/adapter_config.json")
        json["ensure_weight_tying"] = true
        try write([UInt8](json.data()), to: path + "/adapter_config.json")
        let adapter = try Adapters.load(path, for: configuration)
        #expect(adapter.tensors.keys.sorted() == [Self.head, Self.embedding])
    }

    @Test func `the memory of an adapter counts what it brings`() throws {
        let configuration = try ModelConfiguration(small.base())
        let plain = try Adapters.load(
            writeAdapter("a", saving: [], size: 0.1, of: configuration), for: configuration)
        let whole = try Adapters.load(
            writeAdapter("b", saving: [Self.head], size: 0.1, of: configuration), for: configuration
        )
        let bytes = 4 * configuration.vocabularySize * configuration.hiddenSize
        #expect(whole.memory - plain.memory >= bytes)
        let compute = Compute(threads: 1, precision: .int8)
        let packed = [plain, whole].map { PackedDeltas($0, for: configuration, on: compute) }
        #expect(packed[1].memory > packed[0].memory, "the tiles of the output projection")
    }

    @Test func `a bundle keeps them`() throws {
        let configuration = try ModelConfiguration(small.base())
        let path = try writeAdapter(
            "a", saving: [Self.norm, Self.head], size: 0.1, of: configuration)
        try AdapterBundle.pack(path, to: folder["a.lorikeet"])
        let (folder, bundle) = (
            try Adapters.load(path, for: configuration),
            try Adapters.load(self.folder["a.lorikeet"], for: configuration)
        )
        #expect(folder.digest == bundle.digest)
        #expect(bundle.tensors[Self.head]?.values.array == folder.tensors[Self.head]?.values.array)
    }

    @Test func `the probe sees an output projection that alone does anything`() throws {
        let compute = small.compute
        let model = try DecoderModel(checkpoint: small.base(), on: compute)
        let probe = AdapterProbe<any LowRankDeltas>(model, on: compute) {
            PackedDeltas($0, for: model.configuration, on: compute)
        }
        let path = try writeAdapter("a", saving: [Self.head], of: model.configuration)
        try probe.check(Adapters.load(path, for: model.configuration), source: path)
    }

    @Test(arguments: [[embedding], [head], [embedding, norm, head]], Merge.Storage.allCases)
    func `a merged model has them, and says that it is not tied`(
        saved: [String], storage: Merge.Storage
    ) throws {
        let base = try small.quantizedBase()
        let configuration = try ModelConfiguration(base)
        #expect(configuration.tiesEmbeddings)
        let adapter = try Adapters.read(
            writeAdapter("a", saving: saved, size: 0.3, of: configuration), for: configuration)
        try Merge(base, adapter, as: storage, on: small.compute).write(
            to: folder["out"], tokenizerFiles: [:])
        let written = try Checkpoints.open(folder["out"])
        #expect(try !ModelConfiguration(written).tiesEmbeddings)
        for name in [Self.embedding, Self.norm, Self.head] {
            let original = name == Self.head ? Self.embedding : name
            let expected =
                try adapter.tensors[name]?.values.array ?? elements(original, of: base)
            for (ours, theirs) in zip(try elements(name, of: written), expected) {
                // Half a unit of bf16's eight bits.
                #expect(abs(ours - theirs) <= abs(theirs) * 0x1p-8)
            }
        }
        let tokens = tokens(50, of: configuration)
        let divergences = try Divergence.measure(
            tokens,
            reference: .init(
                DecoderModel(checkpoint: base, on: small.compute), adapter: adapter, capacity: 50,
                on: small.compute),
            others: [
                .init(
                    DecoderModel(checkpoint: written, on: small.compute), capacity: 50,
                    on: small.compute),
                .init(
                    DecoderModel(checkpoint: base, on: small.compute), capacity: 50,
                    on: small.compute),
            ], on: small.compute)
        #expect(divergences[0].divergence < 0.1 * divergences[1].divergence)
    }

    @Test func `a base that ties nothing stays as it is`() throws {
        let base = try base("llama_plain_mha")
        let configuration = try ModelConfiguration(base)
        let adapter = try Adapters.read(
            writeAdapter("a", saving: [Self.head], size: 0.1, of: configuration), for: configuration
        )
        let merged = MergedCheckpoint(base, adapter, on: small.compute)
        #expect(merged.tensorNames == base.tensorNames)
        #expect(try elements(Self.head, of: merged) == adapter.tensors[Self.head]?.values.array)
        let embeddings = try [merged, base].map { try elements(Self.embedding, of: $0) }
        #expect(embeddings[0] == embeddings[1])
    }

    @Test func `what does not fit is refused by name`() throws {
        let configuration = try ModelConfiguration(small.base())
        func error(_ saving: [String], modules: [String]) throws -> LorikeetError {
            let path = try writeAdapter(
                "a", saving: saving, modules: modules, size: 1, of: configuration)
            return try failure { _ = try Adapters.load(path, for: configuration) }
        }
        let missing = try error([Self.norm], modules: ["model.norm", "lm_head"])
        #expect(missing.code == .mismatch && missing.problem.contains("lm_head"))
        // PEFT compares the ends of names: this is every norm of every block too.
        let block = "model.layers.0.input_layernorm.weight"
        let blocks = try error([block], modules: ["norm"])
        #expect(blocks.code == .unsupported && blocks.got == block)
        var larger = configuration
        larger.vocabularySize += 1
        let path = try writeAdapter("b", saving: [Self.head], size: 1, of: larger)
        let shape = try failure { _ = try Adapters.load(path, for: configuration) }
        #expect(shape.code == .mismatch && shape.problem.contains("lm_head.weight"))
        #expect(shape.expected == "[\(configuration.vocabularySize), \(configuration.hiddenSize)]")
    }

    @Test func `a sum, a GGUF adapter and training refuse them`() throws {
        let base = try small.base()
        let configuration = try ModelConfiguration(base)
        let adapter = try Adapters.load(
            writeAdapter("a", saving: [Self.head], size: 0.1, of: configuration), for: configuration
        )
        let sum = try failure { _ = try DeltaSum([adapter, adapter]) }
        #expect(sum.code == .unsupported && sum.problem.contains("modules_to_save"))
        let file = try failure {
            try adapter.writeGGUF(to: folder["a.gguf"], over: base, on: small.compute)
        }
        #expect(file.code == .unsupported && file.got == Self.head)
        #expect(!FileManager.default.fileExists(atPath: folder["a.gguf"]))
        let shapes = TrainableAdapter.Shape.shapes(of: [.output], in: configuration)
        let training = try failure {
            _ = try TrainableAdapter(
                shapes: shapes, rank: 2, scale: 2, copying: adapter, name: "a")
        }
        #expect(training.code == .unsupported && training.got == Self.head)
    }
}
