import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// DoRA adapters from file to term: `queryFactors` with magnitudes over a base of random weights.
struct DoRAAdapterTests {
    private static let settings: [(String, JSON)] = [queryTargets, ("use_dora", true)]
    private static let names = (0..<2).map {
        "base_model.model.model.layers.\($0).self_attn.q_proj.lora_magnitude_vector"
    }
    private let weight = WeightMatrix(floats: noise(32 * 32, seed: 1), rows: 32, columns: 32)
    private let compute = Compute(threads: 1, precision: .fp32)

    private var norms: RowNorms {
        let weight = LinearWeight.stored(weight)
        return RowNorms(on: compute) { _ in weight }
    }

    private func tensors(suffix: String = "") -> [RawTensor] {
        queryFactors()
            + Self.names.map { RawTensor($0 + suffix, [32], (0..<32).map { 1 + Float($0) / 8 }) }
    }

    private func write(_ folder: TemporaryFolder, _ tensors: [RawTensor]? = nil) throws {
        try writeFolder(
            folder["dora"], tensors ?? self.tensors(), settings: Self.settings)
    }

    // PEFT 0.21 writes the name without `.weight`; others keep it, or the adapter's name.
    @Test(arguments: ["", ".weight", ".default.weight"])
    func `outputs are scaled by magnitude over norm`(suffix: String) throws {
        let folder = try TemporaryFolder()
        try write(folder, tensors(suffix: suffix))
        let adapter = try Adapters.load(folder["dora"], for: smallModel, norms: norms)
        #expect(adapter.configuration.usesDoRA && adapter.configuration.method == "dora")
        #expect(adapter.parameterCount == 2 * (4 * 32 + 32 * 4 + 32))
        let path = ModulePath(layer: 1, module: .query)
        let scale = try #require(adapter.delta(at: path)?.outputScale)
        let w = weight.dequantizedFloat32(on: compute).array
        for i in 0..<32 {
            // Factors of ones: s B A is (8 / 4) · 4 or what `plain` configures, everywhere.
            let update = Double(try #require(adapter.deltas[path]).scale) * 4
            let norm = (0..<32).reduce(0.0) {
                $0 + (Double(w[i * 32 + $1]) + update) * (Double(w[i * 32 + $1]) + update)
            }.squareRoot()
            #expect(abs(Double(scale[i]) * norm / (1 + Double(i) / 8) - 1) < 1e-6)
        }
    }

    @Test func `what is written is read again, as a folder and as a bundle`() throws {
        let folder = try TemporaryFolder()
        try write(folder)
        let adapter = try Adapters.load(folder["dora"], for: smallModel, norms: norms)
        try Adapters.writePeftFolder(
            at: folder["copy"], configuration: adapter.configuration, deltas: adapter.deltas,
            magnitudes: adapter.magnitudes)
        let file = try SafetensorsFile(path: folder["copy/adapter_model.safetensors"])
        #expect(
            file.tensors.filter { $0.shape.count == 1 }.map(\.name) == Self.names)
        let manifest = try AdapterBundle.pack(adapter, to: folder["a.lorikeet"])
        #expect(manifest.method == "dora" && manifest.parameters == adapter.parameterCount)
        try AdapterBundle.verify(folder["a.lorikeet"])
        for path in ["copy", "a.lorikeet"] {
            let copy = try Adapters.load(folder[path], for: smallModel, norms: norms)
            #expect(copy.digest == adapter.digest)
            for (path, values) in adapter.magnitudes {
                #expect(copy.magnitudes[path]?.array == values.array)
            }
        }
        #expect(try Adapters.inspect(folder["copy"]).summary["method"]?.string == "dora")
        // Other magnitudes are another adapter.
        var other = tensors()
        other[5] = RawTensor(Self.names[1], [32], filledWith: 2)
        try write(folder, other)
        #expect(
            try Adapters.load(folder["dora"], for: smallModel, norms: norms).digest
                != adapter.digest)
        #expect(
            try failure {
                try Adapters.writePeftFolder(
                    at: folder["bad"], configuration: adapter.configuration,
                    deltas: adapter.deltas)
            }.code == .invalidArgument)
    }

    @Test func `missing, superfluous, misshapen and broken magnitudes are refused`() throws {
        let folder = try TemporaryFolder()
        func error(
            _ tensors: [RawTensor], _ settings: [(String, JSON)] = Self.settings
        ) throws -> LorikeetError {
            try writeFolder(folder["bad"], tensors, settings: settings)
            return try failure {
                _ = try Adapters.load(folder["bad"], for: smallModel, norms: norms)
            }
        }
        #expect(try error(tensors().dropLast()).problem.contains("has no lora_magnitude_vector"))
        #expect(try error(tensors(), [queryTargets]).code == .mismatch)
        for shape in [[31], [33], [1, 32], [32, 1], [0]] {
            let tensors = tensors().dropLast() + [RawTensor(Self.names[1], shape, filledWith: 1)]
            #expect(try error(Array(tensors)).expected == "[32]")
        }
        for value in [Float.nan, .infinity] {
            let tensors = tensors().dropLast() + [RawTensor(Self.names[1], [32], filledWith: value)]
            #expect(try error(Array(tensors)).code == .malformed)
        }
    }

    @Test func `without the base's weights, or beside another adapter, it is refused`() throws {
        let folder = try TemporaryFolder()
        try write(folder)
        #expect(
            try failure { _ = try Adapters.load(folder["dora"], for: smallModel) }.code
                == .invalidArgument)
        let registry = AdapterRegistry(AdapterBase(smallModel, norms: norms))
        let dora = try registry.load(name: "dora", path: folder["dora"])
        #expect(try registry.adapter("dora") === dora)
        #expect(dora.delta(at: ModulePath(layer: 0, module: .query))?.outputScale != nil)
        let plain = try registry.load(name: "plain", path: resource("plain"))
        #expect(try failure { _ = try DeltaSum([plain, dora]) }.code == .unsupported)
        let alone = try DeltaSum([dora])
        #expect(alone.delta(at: ModulePath(layer: 0, module: .query))?.outputScale != nil)
    }
}
