public import LorikeetRuntime
import OrderedCollections

extension AdapterConfiguration {
    /// Reads `adapter_config.json`.
    ///
    /// - Parameters:
    ///   - json: the file's content.
    ///   - source: its path, for errors.
    /// - Throws: `.malformed` for a key of the wrong type or out of range, `.unsupported` for a setting
    ///   that would need other mathematics (a bias, modules saved whole, …).
    public init(json: JSON, source: String) throws {
        guard let object = json.object else {
            throw LorikeetError(.malformed, source, "not a JSON object")
        }
        let fields = ConfigurationFields(object: object, source: source)
        try fields.requireSupported()
        rank = try fields.rank(object["r"], "r", default: 8)
        alpha = try fields.alpha(object["lora_alpha"], "lora_alpha", default: 8)
        guard let targets = try fields.moduleNames("target_modules") else {
            throw fields.failure("target_modules", "names, a pattern or \"all-linear\"")
        }
        targetModules = targets
        excludedModules = try fields.moduleNames("exclude_modules")
        rankPattern = [:]
        for (key, value) in try fields.object("rank_pattern") {
            rankPattern[key] = try fields.rank(value, "rank_pattern \(String(reflecting: key))")
        }
        alphaPattern = [:]
        for (key, value) in try fields.object("alpha_pattern") {
            alphaPattern[key] = try fields.alpha(value, "alpha_pattern \(String(reflecting: key))")
        }
        usesRSLoRA = try fields.value("use_rslora", "true or false", \.bool) ?? false
        usesDoRA = try fields.value("use_dora", "true or false", \.bool) ?? false
        dropout = try fields.value("lora_dropout", "a number", \.double) ?? 0
        guard (0..<1).contains(dropout) else { throw fields.failure("lora_dropout", "0 ≤ p < 1") }
        baseModel = try fields.value("base_model_name_or_path", "a string", \.string)
        taskType = try fields.value("task_type", "a string", \.string)
        modulesToSave =
            try fields.value("modules_to_save", "strings") {
                $0.array.flatMap { $0.allOf(\.string) }
            } ?? []
        layersToTransform = try fields.value("layers_to_transform", "layer numbers") { value in
            if let layer = value.int { [layer] } else { value.array.flatMap { $0.allOf(\.int) } }
        }
        layersPattern =
            try fields.value("layers_pattern", "strings") { value in
                if let name = value.string {
                    [name]
                } else {
                    value.array.flatMap { $0.allOf(\.string) }
                }
            } ?? []
        otherFields = OrderedDictionary(
            uniqueKeysWithValues: object.filter { !Self.ownKeys.contains($0.key) })
    }

    /// The file's content, with the keys and in the order that PEFT 0.21.2 writes.
    public var json: JSON {
        var fields = Self.defaultFields
        fields.merge(otherFields) { $1 }
        fields["r"] = .int(rank)
        fields["lora_alpha"] = Self.number(alpha)
        fields["target_modules"] = targetModules.json
        fields["exclude_modules"] = excludedModules?.json ?? .null
        fields["rank_pattern"] = .object(rankPattern.mapValues { .int($0) })
        fields["alpha_pattern"] = .object(alphaPattern.mapValues(Self.number))
        fields["use_rslora"] = .bool(usesRSLoRA)
        fields["use_dora"] = .bool(usesDoRA)
        fields["lora_dropout"] = .double(dropout)
        fields["base_model_name_or_path"] = baseModel.map { .string($0) } ?? .null
        fields["task_type"] = taskType.map { .string($0) } ?? .null
        fields["modules_to_save"] =
            modulesToSave.isEmpty ? .null : .array(modulesToSave.map { .string($0) })
        // PEFT takes an empty list for all layers.
        fields["layers_to_transform"] =
            layersToTransform.map { .array($0.map { .int($0) }) } ?? .null
        fields["layers_pattern"] =
            layersPattern.isEmpty ? .null : .array(layersPattern.map { .string($0) })
        fields.sort { $0.key < $1.key }
        return .object(fields)
    }

    private static func number(_ value: Double) -> JSON {
        Int(exactly: value).map { .int($0) } ?? .double(value)
    }

    private static let ownKeys: Set<String> = [
        "r", "lora_alpha", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern",
        "use_rslora", "use_dora", "lora_dropout", "base_model_name_or_path", "task_type",
        "layers_to_transform", "layers_pattern", "modules_to_save",
    ]

    private static let defaultFields: OrderedDictionary<String, JSON> = [
        "alora_invocation_tokens": nil, "arrow_config": nil, "auto_mapping": nil, "bias": "none",
        "corda_config": nil, "ensure_weight_tying": false, "eva_config": nil,
        "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true,
        "kasa_config": nil, "layer_replication": nil, "loftq_config": [:], "lora_bias": false,
        "lora_ga_config": nil, "megatron_config": nil, "megatron_core": "megatron.core",
        "monteclora_config": nil, "peft_type": "LORA",
        "peft_version": "0.21.2", "qalora_group_size": 16, "revision": nil,
        "target_parameters": nil, "trainable_token_indices": nil, "use_bdlora": nil,
        "use_dora": false, "use_qalora": false, "velora_config": nil,
    ]
}

extension AdapterConfiguration.ModuleNames {
    fileprivate var json: JSON {
        switch self {
        case .list(let names): .array(names.map { .string($0) })
        case .pattern(let pattern): .string(pattern)
        case .allLinear: "all-linear"
        }
    }
}

extension [JSON] {
    /// Every element's `part`, or nil if one has none.
    fileprivate func allOf<Part>(_ part: (JSON) -> Part?) -> [Part]? {
        let parts = compactMap(part)
        return parts.count == count ? parts : nil
    }
}

private struct ConfigurationFields {
    let object: JSON.Object
    let source: String

    func failure(_ key: String, _ expected: String) -> LorikeetError {
        LorikeetError(
            .malformed, source, "the key \(key)", expected: expected,
            got: object[key]?.text() ?? "nothing")
    }

    /// The value at `key` through `part`; nil where the key is absent or null.
    func value<Part>(_ key: String, _ expected: String, _ part: (JSON) -> Part?) throws -> Part? {
        guard let value = object[key], !value.isNull else { return nil }
        guard let part = part(value) else { throw failure(key, expected) }
        return part
    }

    func object(_ key: String) throws -> JSON.Object {
        try value(key, "an object", \.object) ?? [:]
    }

    func rank(_ value: JSON?, _ key: String, default: Int? = nil) throws -> Int {
        let most = AdapterConfiguration.maximumRank
        guard let rank = value == nil ? `default` : value?.int, (1...most).contains(rank) else {
            throw LorikeetError(
                .malformed, source, "the rank at \(key)", expected: "1 to \(most)",
                got: value?.text() ?? "nothing")
        }
        return rank
    }

    func alpha(_ value: JSON?, _ key: String, default: Double? = nil) throws -> Double {
        // As a float, in which the scale is used: 1e-60 would be 0 there.
        guard let alpha = value == nil ? `default` : value?.double, Float(alpha).isNormal else {
            throw LorikeetError(
                .malformed, source, "the alpha at \(key)", expected: "a number other than 0",
                got: value?.text() ?? "nothing")
        }
        return alpha
    }

    func moduleNames(_ key: String) throws -> AdapterConfiguration.ModuleNames? {
        try value(key, "a string or strings") { value in
            if let text = value.string {
                return text.lowercased() == "all-linear" ? .allLinear : .pattern(text)
            }
            guard let names = value.array?.allOf(\.string), !names.isEmpty else { return nil }
            return .list(names)
        }
    }

    /// Refuses each setting that needs more than low-rank terms over the unchanged base.
    ///
    /// `fan_in_fan_out` is none: it is about GPT-2's transposed layers, and PEFT takes it back for all others.
    func requireSupported() throws {
        let type = object["peft_type"]?.string
        guard type == "LORA" else {
            throw LorikeetError(
                .unsupported, source, "the adapter's peft_type", expected: "LORA",
                got: object["peft_type"]?.text() ?? "nothing")
        }
        // A base without biases has none to train: with one, the file's tensors are refused by name.
        let bias = try value("bias", "none, all or lora_only", \.string) ?? "none"
        guard ["none", "all", "lora_only"].contains(bias) else {
            throw failure("bias", "none, all or lora_only")
        }
        for (key, meaning) in Self.refusedWhenSet where isSet(key) {
            throw unsupported(key, meaning)
        }
        // These start from a base whose own weights they changed; the factors alone are not enough.
        let initialization = object["init_lora_weights"] ?? true
        guard
            initialization.bool != nil || initialization.isNull
                || ["gaussian", "eva", "orthogonal"].contains(initialization.string?.lowercased())
        else {
            throw unsupported(
                "init_lora_weights", "this initialization changes the base's weights",
                advice: "Save it converted to plain LoRA "
                    + "(PEFT: path_initial_model_for_weight_conversion).")
        }
        // A later PEFT's variants follow the naming of today's; one that is set is not plain LoRA.
        for key in object.keys
        where key.hasPrefix("use_") && !Self.knownSwitches.contains(key) && isSet(key) {
            throw unsupported(key, "an unknown variant of LoRA is switched on")
        }
    }

    private func unsupported(
        _ key: String, _ meaning: String, advice: String? = nil
    ) -> LorikeetError {
        LorikeetError(
            .unsupported, source, "\(key): \(meaning)", got: object[key]?.text(), advice: advice)
    }

    private func isSet(_ key: String) -> Bool {
        switch object[key] {
        case nil, .null, .bool(false): false
        case .array(let elements): !elements.isEmpty
        case .object(let members): !members.isEmpty
        default: true
        }
    }

    private static let knownSwitches: Set<String> = ["use_rslora", "use_dora"]

    private static let refusedWhenSet: KeyValuePairs<String, String> = [
        "lora_bias": "a bias in lora_B is not supported",
        "layer_replication": "replicated layers are not supported",
        "use_qalora": "QALoRA is not supported",
        "use_bdlora": "block-diagonal LoRA is not supported",
        "trainable_token_indices": "trained token embeddings are not supported",
        "target_parameters": "parameters targeted by name are not supported",
        "alora_invocation_tokens": "activated LoRA is not supported",
        "arrow_config": "Arrow routing is not supported",
        "kasa_config": "KaSA is not supported",
        "monteclora_config": "MonteCLoRA is not supported",
        "velora_config": "VeLoRA is not supported",
    ]
}
