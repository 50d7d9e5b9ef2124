import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Adapters over the tiny model of two blocks, which has weights to probe.
struct AdapterProbeTests {
    private let folder: TemporaryFolder
    private let model: LanguageModel
    private let registry: SmallRegistry

    init() throws {
        folder = try TemporaryFolder()
        try TinyLanguageModel.write(to: folder["base"])
        model = try LanguageModel(path: folder["base"], compute: Compute(threads: 1))
        registry = AdapterRegistry(model)
    }

    /// Writes an adapter of one module in both blocks, its B filled with `value`, or random.
    private func write(
        _ name: String, _ module: LinearModule, filledWith value: Float? = nil, rank: Int = 2,
        settings: [(String, JSON)] = []
    ) throws -> String {
        let (outputs, inputs) = module.shape(in: model.model.configuration)
        let tensors = (0..<2).flatMap { layer in
            let path = ModulePath(layer: layer, module: module)
            let b =
                value.map { Array(repeating: $0, count: outputs * rank) }
                ?? noise(outputs * rank, seed: 7).array
            return [
                RawTensor(
                    "base_model.model.\(path).lora_A.weight", [rank, inputs],
                    noise(rank * inputs, seed: UInt64(layer)).array),
                RawTensor("base_model.model.\(path).lora_B.weight", [outputs, rank], b),
            ]
        }
        let own: [(String, JSON)] = [
            ("target_modules", [.string(module.name)]), ("r", .int(rank)),
        ]
        try writeFolder(folder[name], tensors, settings: own + settings)
        return folder[name]
    }

    @Test(arguments: LinearModule.llama)
    func `an adapter of any one module shows`(module: LinearModule) throws {
        try registry.load(name: "a", path: write("a", module))
        #expect(registry.status(of: "a")?.version?.modules == 2)
    }

    @Test(arguments: [1, 256]) func `rank 1 and rank 256 load and show`(rank: Int) throws {
        let adapter = try registry.load(name: "a", path: write("a", .up, rank: rank))
        #expect(adapter.delta(at: ModulePath(layer: 1, module: .up))?.rank == rank)
        let manifest = try AdapterBundle.pack(folder["a"], to: folder["a.lorikeet"])
        try registry.load(name: "b", path: folder["a.lorikeet"])
        #expect(manifest.rank == rank)
        #expect(try registry.acquire("a") === registry.acquire("b"))
    }

    @Test func `one whose numbers change no logit is refused, and the version before stays`() throws
    {
        let first = try registry.load(name: "a", path: write("good", .up))
        // Finite and not 0, so that nothing but the probe tells.
        let path = try write("faint", .up, filledWith: 1e-30)
        let error = try failure { try registry.load(name: "a", path: path) }
        #expect(error.code == .malformed && error.problem.contains("no logit"))
        #expect(try registry.adapter("a") === first)
    }

    @Test func `one that makes logits overflow is refused`() throws {
        let path = try write(
            "huge", .up, filledWith: 3e38, settings: [("lora_alpha", .double(1e30))])
        let error = try failure { try registry.load(name: "a", path: path) }
        #expect(error.code == .malformed && error.problem.contains("not finite"))
        #expect(registry.names.isEmpty)
    }

    @Test func `NaN in a factor is refused, naming it`() throws {
        let path = try write("nan", .query, filledWith: .nan)
        let error = try failure { try registry.load(name: "a", path: path) }
        #expect(error.code == .malformed && error.problem.contains("lora_B"))
    }

    @Test func `the base's answer is computed once`() throws {
        let (asked, base) = (Counter(), Counter())
        let probe = AdapterProbe<any LowRankDeltas> { adapter in
            asked.add()
            if adapter == nil { base.add() }
            return adapter == nil ? [1, 2] : [1, 3]
        }
        let registry = AdapterRegistry(AdapterBase(model.model.configuration), probe: probe)
        try registry.load(name: "a", path: write("a", .up))
        try registry.load(name: "b", path: write("a", .up))
        #expect(asked.value == 3 && base.value == 1)
    }

    @Test func `a content that comes back from disk is not probed again`() throws {
        let asked = Counter()
        let probe = AdapterProbe<any LowRankDeltas> { adapter in
            asked.add()
            return adapter == nil ? [1] : [2]
        }
        let base = AdapterBase(model.model.configuration)
        let a = try write("a", .up)
        let b = try write("b", .down)
        let memory = try Adapters.inspect(a).memory
        let registry = AdapterRegistry(base, options: limits(memory: memory), probe: probe)
        try registry.load(name: "a", path: a)
        try registry.load(name: "b", path: b)
        #expect(registry.status(of: "a")?.state == .onDisk && asked.value == 3)
        _ = try registry.acquire("a")
        #expect(asked.value == 3)
    }

    @Test func `a bundle of another base is refused, naming both`() throws {
        var options = AdapterBundle.Options()
        options.baseDigest = String(repeating: "0", count: 64)
        try AdapterBundle.pack(write("a", .up), to: folder["a.lorikeet"], options: options)
        let error = try failure { try registry.load(name: "a", path: folder["a.lorikeet"]) }
        #expect(error.code == .mismatch && error.expected?.contains("0000") == true)
        #expect(try error.got == model.baseDigest())
        try registry.load(name: "a", path: folder["a.lorikeet"], allowOtherBase: true)
    }

    @Test func `an adapter that targets no module of the base is refused`() throws {
        let path = try write("a", .up, settings: [("target_modules", ["no_such_proj"])])
        #expect(try failure { try registry.load(name: "a", path: path) }.code == .mismatch)
        let layers = try write("b", .up, settings: [("layers_to_transform", [7])])
        #expect(try failure { try registry.load(name: "a", path: layers) }.code == .mismatch)
    }

    @Test func `ranks and alphas by pattern and rsLoRA give each term its scale`() throws {
        let settings: [(String, JSON)] = [
            ("rank_pattern", ["layers.1.mlp.up_proj": 2]), ("lora_alpha", 6),
            ("alpha_pattern", ["layers.1.*": 10]), ("r", 2),
        ]
        let plain = try registry.load(name: "a", path: write("a", .up, settings: settings))
        let scales = (0..<2).map { plain.deltas[ModulePath(layer: $0, module: .up)]?.scale }
        #expect(scales == [3, 5])
        let rs = try registry.load(
            name: "b", path: write("b", .up, settings: settings + [("use_rslora", true)]))
        #expect(rs.deltas[ModulePath(layer: 0, module: .up)]?.scale == Float(6 / 2.0.squareRoot()))
        // The same factors at another scale are another adapter.
        #expect(rs.digest != plain.digest)
    }

    @Test func `a bundle that expands past the limit is refused`() throws {
        try AdapterBundle.pack(write("a", .up), to: folder["a.lorikeet"])
        for path in ["a", "a.lorikeet"] {
            let small = AdapterRegistry(
                AdapterBase(model), options: limits { $0.maximumBundleBytes = 4096 })
            let error = try failure { try small.load(name: "a", path: folder[path]) }
            #expect(error.code == .unsupported && error.expected?.contains("4096") == true)
        }
    }

    @Test func `a pipe in a file's place is refused and not waited for`() throws {
        let path = try write("a", .up)
        try FileManager.default.removeItem(atPath: path + "/adapter_model.safetensors")
        #expect(mkfifo(path + "/adapter_model.safetensors", 0o600) == 0)
        #expect(mkfifo(folder["b.lorikeet"], 0o600) == 0)
        for path in [path, folder["b.lorikeet"]] {
            #expect(try failure { try registry.load(name: "a", path: path) }.code == .io)
        }
    }
}
