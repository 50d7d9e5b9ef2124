import LorikeetQuant
import LorikeetRuntime

extension Adapter {
    /// Reads factors and configuration and checks all that can be checked without a base.
    ///
    /// With `allowNoEffect` an adapter that changes nothing is accepted: a start for training is one.
    ///
    /// - Throws: `.mismatch` for a factor that is no module's, without its partner or of another rank
    ///   than configured; `.malformed` for NaN or infinity, or an adapter that changes nothing.
    convenience init(
        files: AdapterFiles, name: String, manifest: BundleManifest?, allowNoEffect: Bool
    ) throws {
        try self.init(
            configuration: files.configuration, factors: files.factors.factors,
            source: files.source, name: name, task: files.task, manifest: manifest,
            allowNoEffect: allowNoEffect)
    }

    /// The same of an adapter_config.json and the tensors beside it.
    convenience init(
        configuration: [UInt8], factors: [StoredFactor], source: String, name: String,
        task: SequenceTask?, manifest: BundleManifest?, allowNoEffect: Bool
    ) throws {
        let place = source + "/" + AdapterFiles.configurationName
        let json = try configuration.withUnsafeBytes { try JSON(parsing: $0, source: place) }
        let configuration = try AdapterConfiguration(json: json, source: place)
        let isWhole = factors.map { configuration.saves(Self.modelName(of: $0.name)) }
        let tensors = try Self.tensors(
            zip(factors, isWhole).filter(\.1).map(\.0), source: source)
        let (deltas, magnitudes) = try Self.terms(
            zip(factors, isWhole).filter { !$0.1 }.map(\.0), configuration, source: source,
            allowNoEffect: allowNoEffect || !tensors.isEmpty)
        self.init(
            name: name, configuration: configuration, deltas: deltas, magnitudes: magnitudes,
            tensors: tensors, task: task, manifest: manifest)
    }

    /// What a model calls the tensor that PEFT stores as `name`.
    private static func modelName(of name: String) -> String {
        String(name.trimmingPrefix("base_model.model."))
    }

    /// The tensors that are brought whole, by the model's names.
    private static func tensors(
        _ stored: [StoredFactor], source: String
    ) throws -> [String: SavedTensor] {
        var tensors: [String: SavedTensor] = [:]
        for tensor in stored {
            let memory = TileMemory(pieceBytes: TileMemory.rounded(4 * tensor.count))
            let values = try finite(tensor, in: memory, source: source).values
            let saved = SavedTensor(shape: tensor.shape, values: values)
            guard tensors.updateValue(saved, forKey: modelName(of: tensor.name)) == nil else {
                throw LorikeetError(.malformed, source, "two tensors are \(tensor.name)")
            }
        }
        return tensors
    }

    private static func terms(
        _ tensors: [StoredFactor], _ configuration: AdapterConfiguration, source: String,
        allowNoEffect: Bool
    ) throws -> (
        deltas: [ModulePath: LowRankDelta], magnitudes: [ModulePath: Buffer<Float>]
    ) {
        var factors: [ModulePath: [Factor: StoredFactor]] = [:]
        for tensor in tensors {
            guard let (path, factor) = Factor.parse(tensor.name) else {
                guard !tensor.name.hasSuffix(".bias") || !configuration.trainsBiases else {
                    throw LorikeetError(
                        .unsupported, source, "bias: trained biases are not supported",
                        got: tensor.name)
                }
                throw LorikeetError(
                    .mismatch, source, "a tensor matches no module",
                    expected: "names such as base_model.model.model.layers.0.self_attn.q_proj"
                        + ".lora_A.weight",
                    got: tensor.name)
            }
            if let other = factors[path, default: [:]].updateValue(tensor, forKey: factor) {
                throw LorikeetError(
                    .malformed, source, "two tensors are \(factor.rawValue) of \(path)",
                    got: "\(other.name) and \(tensor.name)")
            }
        }
        guard !factors.isEmpty else {
            throw LorikeetError(.malformed, source, "the adapter holds no factors")
        }
        let terms = try configuration.terms(at: Array(factors.keys), source: source)
        let memory = TileMemory(
            pieceBytes: tensors.reduce(0) { $0 + TileMemory.rounded(4 * $1.count) })
        var deltas: [ModulePath: LowRankDelta] = [:]
        var magnitudes: [ModulePath: Buffer<Float>] = [:]
        // Whether magnitudes are the base's own norms, its weights alone can tell.
        var changes = configuration.usesDoRA
        for path in factors.keys.sorted() {
            guard let term = terms[path] else { continue }
            func matrix(_ factor: Factor) throws -> StoredFactor {
                guard let tensor = factors[path]?[factor] else {
                    throw LorikeetError(
                        .mismatch, source, "\(path) has no \(factor.rawValue)",
                        expected: "both lora_A and lora_B",
                        got: factors[path]?.values.first?.name)
                }
                let dimension = factor == .a ? 0 : 1
                guard tensor.shape.count == 2, tensor.shape[dimension] == term.rank,
                    tensor.shape[1 - dimension] > 0
                else {
                    throw LorikeetError(
                        .mismatch, source, "the shape of \(tensor.name)",
                        expected: factor == .a ? "[\(term.rank), in]" : "[out, \(term.rank)]",
                        got: "\(tensor.shape)")
                }
                return tensor
            }
            let a = try finite(matrix(.a), in: memory, source: source)
            let b = try finite(matrix(.b), in: memory, source: source)
            changes = changes || (a.largest != 0 && b.largest != 0)
            deltas[path] = LowRankDelta(
                a: a.values, b: b.values, rank: term.rank, scale: term.scale)
            magnitudes[path] = try magnitude(
                factors[path]?[.magnitude], of: path, outputs: b.values.count / term.rank,
                configuration, in: memory, source: source)
        }
        guard changes || allowNoEffect else {
            throw LorikeetError(
                .malformed, source,
                "the adapter changes nothing: at every module lora_A or lora_B is zero",
                advice: "Train it before it is used.")
        }
        return (deltas, magnitudes)
    }

    private static func magnitude(
        _ tensor: StoredFactor?, of path: ModulePath, outputs: Int,
        _ configuration: AdapterConfiguration, in memory: TileMemory, source: String
    ) throws -> Buffer<Float>? {
        guard configuration.usesDoRA == (tensor != nil) else {
            throw LorikeetError(
                .mismatch, source,
                "\(path) has \(tensor == nil ? "no" : "a") \(Factor.magnitude.rawValue)",
                expected: tensor == nil ? "one, since use_dora is set" : "none without use_dora")
        }
        guard let tensor else { return nil }
        guard tensor.shape == [outputs] else {
            throw LorikeetError(
                .mismatch, source, "the shape of \(tensor.name)", expected: "[\(outputs)]",
                got: "\(tensor.shape)")
        }
        return try finite(tensor, in: memory, source: source).values
    }

    /// The tensor's elements, and the largest magnitude among them.
    private static func finite(
        _ tensor: StoredFactor, in memory: TileMemory, source: String
    ) throws -> (values: Buffer<Float>, largest: Float) {
        let values = memory.buffer(tensor.count, of: Float.self)
        try tensor.floats(into: values.pointer, source: source)
        let largest = values.largestMagnitude
        if !largest.isFinite, let index = values.elements.firstIndex(where: { !$0.isFinite }) {
            throw LorikeetError(
                .malformed, source, "\(tensor.name) holds a number that is not finite",
                got: "\(values[index]) at element \(index)")
        }
        return (values, largest)
    }

    /// Checks the adapter against a decoder: as against its modules, and its whole tensors are what lies outside
    /// the blocks.
    ///
    /// - Throws: `.mismatch`, naming expected and got; `.unsupported` for a whole tensor of a block.
    func check(against model: ModelConfiguration, source: String) throws {
        try check(against: model.modules, source: source)
        for module in configuration.modulesToSave
        where !tensors.keys.contains(where: { AdapterConfiguration.saves(module, $0) }) {
            throw LorikeetError(
                .mismatch, source, "modules_to_save names \(module), of which there is no tensor",
                expected: "its weights", got: tensors.keys.sorted().joined(separator: ", "))
        }
        try requireWhole(model.outerTensors, code: .unsupported, source: source)
    }

    /// Checks the adapter against an encoder: as against its modules, and its whole tensors are a head.
    ///
    /// - Throws: `.mismatch`, naming expected and got.
    func check(against model: EncoderConfiguration, source: String) throws {
        try check(against: model.modules, source: source)
        let outputs = tensors["classifier.bias"]?.shape.first ?? model.labels.count
        try requireWhole(
            model.headTensors(labels: outputs).map { ($0.name, $0.shape) }, code: .mismatch,
            source: source)
    }

    /// Throws `code` for a whole tensor that is none of these, `.mismatch` for one of another shape.
    private func requireWhole(
        _ known: [(name: String, shape: [Int])], code: LorikeetError.Code, source: String
    ) throws {
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            guard let expected = known.first(where: { $0.name == name }) else {
                throw LorikeetError(
                    code, source, "modules_to_save: no adapter brings this tensor whole",
                    expected: known.map(\.name).joined(separator: ", "), got: name)
            }
            guard expected.shape == tensor.shape else {
                throw LorikeetError(
                    .mismatch, source, "the shape of \(name)", expected: "\(expected.shape)",
                    got: "\(tensor.shape)", advice: "The adapter belongs to another base.")
            }
        }
    }

    /// Checks the adapter against a base: every targeted module has its term, every term its module, and
    /// all widths agree.
    ///
    /// - Throws: `.mismatch`, naming expected and got.
    private func check(against model: BlockModules, source: String) throws {
        for path in deltas.keys.sorted() {
            guard let delta = deltas[path] else { continue }
            guard path.layer < model.layerCount else {
                throw LorikeetError(
                    .mismatch, source, "\(path) is no module of the base",
                    expected: "layers 0 to \(model.layerCount - 1)", got: "layer \(path.layer)",
                    advice: "The adapter belongs to another base.")
            }
            guard let (outputs, inputs) = model.shape(of: path.module) else {
                throw LorikeetError(
                    .mismatch, source, "\(path) is no module of the base",
                    expected: "modules such as "
                        + model.all.map(\.name).joined(separator: ", "),
                    got: path.module.path, advice: "The adapter belongs to another base.")
            }
            let widths = [("lora_A", inputs, delta.a), ("lora_B", outputs, delta.b)]
            for (factor, width, values) in widths where values.count != width * delta.rank {
                let (rank, got) = (delta.rank, values.count / delta.rank)
                throw LorikeetError(
                    .mismatch, source, "the shape of \(factor) at \(path)",
                    expected: factor == "lora_A" ? "[\(rank), \(width)]" : "[\(width), \(rank)]",
                    got: factor == "lora_A" ? "[\(rank), \(got)]" : "[\(got), \(rank)]",
                    advice: "The adapter belongs to another base.")
            }
        }
        let targets = try configuration.targetedModules(
            in: model, source: source)
        for path in targets where deltas[path] == nil {
            throw LorikeetError(
                .mismatch, source, "target_modules names \(path), which has no factors",
                expected: "factors of \(targets.count) modules", got: "of \(moduleCount)")
        }
        let targeted = Set(targets)
        for path in deltas.keys.sorted() where !targeted.contains(path) {
            throw LorikeetError(
                .mismatch, source,
                "there are factors of \(path), which target_modules does not name",
                expected: "factors of \(targets.count) modules: \(configuration.targetModules)",
                got: "of \(moduleCount)")
        }
    }
}

/// Which part of a term a tensor is.
private enum Factor: String {
    case a = "lora_A"
    case b = "lora_B"
    case magnitude = "lora_magnitude_vector"

    /// Reads `[base_model.model.]PATH.lora_A[.default].weight`; a magnitude's `.weight` may be missing.
    static func parse(_ name: String) -> (ModulePath, Factor)? {
        // As bytes, which are told apart faster than characters.
        var rest = Substring(name).utf8
        if rest.starts(with: "base_model.model.".utf8) { rest.removeFirst(17) }
        func takeLast(_ suffix: String) -> Bool {
            let isThere = rest.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
            if isThere { rest.removeLast(suffix.utf8.count) }
            return isThere
        }
        let isWeight = takeLast(".weight")
        _ = takeLast(".default")
        guard let dot = rest.lastIndex(of: UInt8(ascii: ".")),
            let factor = Factor(rawValue: String(Substring(rest[rest.index(after: dot)...]))),
            isWeight || factor == .magnitude
        else { return nil }
        let spelled = String(Substring(rest[..<dot]))
        // Spelled back: "layers.01" and "layers.+1" are no names.
        guard let path = ModulePath(spelled), path.description == spelled else { return nil }
        return (path, factor)
    }
}
