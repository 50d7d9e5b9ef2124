import OrderedCollections

extension ModelConfiguration {
    /// Reads config.json of a Llama architecture; what it leaves out has transformers' default.
    ///
    /// - Parameters:
    ///   - configuration: config.json.
    ///   - source: its path, for the error.
    /// - Throws: `.unsupported` for another architecture or a feature the model does not have;
    ///   `.malformed` for numbers that are no numbers, out of bounds, or contradict each other.
    public init(_ configuration: JSON, source: String) throws {
        let fields = ConfigurationFields(configuration, source)
        try Self.requireLlama(fields)
        // Bounds far above any model there is, so that no product of two overflows.
        let hiddenSize = try fields.count("hidden_size", default: 4096, atMost: 1 << 20)
        let headCount = try fields.count("num_attention_heads", default: 32, atMost: 1 << 14)
        let keyValueHeadCount = try fields.count(
            "num_key_value_heads", default: headCount, atMost: 1 << 14)
        guard headCount % keyValueHeadCount == 0 else {
            throw fields.malformed(
                "num_key_value_heads", expected: "a divisor of num_attention_heads, \(headCount)")
        }
        let hasHeadSize = !(configuration["head_dim"]?.isNull ?? true)
        guard hasHeadSize || hiddenSize % headCount == 0 else {
            throw fields.malformed(
                "hidden_size", expected: "a multiple of num_attention_heads, \(headCount)")
        }
        let headSize = try fields.count(
            "head_dim", default: hiddenSize / headCount, atMost: 1 << 14)
        guard headSize % 2 == 0, headSize > 0 else {
            throw fields.malformed("head_dim", expected: "an even number, for rotary embeddings")
        }
        let maximumPositions = try fields.count(
            "max_position_embeddings", default: 2048, atMost: 1 << 30)
        let rope = try RopeFields(fields, maximumPositions: maximumPositions)
        self.init(
            hiddenSize: hiddenSize,
            intermediateSize: try fields.count(
                "intermediate_size", default: 11008, atMost: 1 << 22),
            layerCount: try fields.count("num_hidden_layers", default: 32, atMost: 1 << 14),
            headCount: headCount, keyValueHeadCount: keyValueHeadCount, headSize: headSize,
            vocabularySize: try fields.count("vocab_size", default: 32000, atMost: 1 << 24),
            maximumPositions: maximumPositions,
            normEpsilon: Float(try fields.number("rms_norm_eps", default: 1e-6, in: 0...1)),
            ropeTheta: rope.theta, ropeScaling: rope.scaling,
            tiesEmbeddings: try fields.flag("tie_word_embeddings"))
    }

    private static func requireLlama(_ fields: ConfigurationFields) throws {
        let architecture = fields.json["architectures"]?.array?.first?.string
        let modelType = fields.json["model_type"]?.string
        let isLlama =
            architecture.map { $0 == "LlamaForCausalLM" }
            ?? (modelType == "llama")
        guard isLlama, modelType == nil || modelType == "llama" else {
            throw LorikeetError(
                .unsupported, fields.source, "the architecture is not one that Lorikeet runs",
                expected: "LlamaForCausalLM",
                got: architecture.map { "\($0) (\(modelType ?? "no model_type"))" } ?? modelType
                    ?? "neither architectures nor model_type")
        }
        for key in ["attention_bias", "mlp_bias"] where try fields.flag(key) {
            throw LorikeetError(
                .unsupported, fields.source, "\(key) is true: biases are not supported")
        }
        let activation = fields.json["hidden_act"]?.string ?? "silu"
        guard activation == "silu" || activation == "swish" else {
            throw LorikeetError(
                .unsupported, fields.source, "hidden_act is not supported", expected: "silu",
                got: activation)
        }
    }
}

/// The rotary embedding: `rope_parameters`, or before transformers 5 `rope_theta` and `rope_scaling`.
private struct RopeFields {
    let theta: Double
    let scaling: ModelConfiguration.RopeScaling?

    init(_ fields: ConfigurationFields, maximumPositions: Int) throws {
        let outer = try fields.number("rope_theta", default: 10000, in: 1...1e12)
        // transformers reads the older key first.
        let key = ["rope_scaling", "rope_parameters"].first {
            fields.json[$0]?.object?.isEmpty == false
        }
        guard let key, let parameters = fields.json[key] else {
            theta = outer
            scaling = nil
            return
        }
        let rope = ConfigurationFields(parameters, fields.source, prefix: key + ".")
        theta = try rope.number("rope_theta", default: outer, in: 1...1e12)
        guard try rope.number("partial_rotary_factor", default: 1, in: 0...1) == 1 else {
            throw LorikeetError(
                .unsupported, fields.source, "\(key).partial_rotary_factor is not 1")
        }
        let type = parameters["rope_type"] ?? parameters["type"] ?? "default"
        switch type.string {
        case "default":
            scaling = nil
        case "linear":
            scaling = .linear(factor: try rope.number("factor", in: 1...1e6))
        case "llama3":
            let low = try rope.number("low_freq_factor", in: 1e-6...1e6)
            let high = try rope.number("high_freq_factor", in: 1e-6...1e6)
            guard low < high else {
                throw rope.malformed(
                    "high_freq_factor", expected: "more than low_freq_factor, \(low)")
            }
            scaling = .llama3(
                factor: try rope.number("factor", in: 1...1e6), lowFrequencyFactor: low,
                highFrequencyFactor: high,
                originalMaximumPositions: try rope.count(
                    "original_max_position_embeddings", default: maximumPositions, atMost: 1 << 30))
        default:
            throw LorikeetError(
                .unsupported, fields.source, "\(key).rope_type is not supported",
                expected: "default, linear or llama3", got: type.text())
        }
    }
}

/// Checked reading of config.json's fields; null counts as absent, as in transformers.
private struct ConfigurationFields {
    let json: JSON
    let source: String
    let prefix: String

    init(_ json: JSON, _ source: String, prefix: String = "") {
        self.json = json
        self.source = source
        self.prefix = prefix
    }

    func malformed(_ key: String, expected: String) -> LorikeetError {
        LorikeetError(
            .malformed, source, "\(prefix)\(key) is out of range", expected: expected,
            got: json[key]?.text() ?? "nothing")
    }

    func count(_ key: String, default value: Int, atMost limit: Int) throws -> Int {
        guard let field = json[key], !field.isNull else { return value }
        guard let count = field.int, (1...limit).contains(count) else {
            throw malformed(key, expected: "a whole number from 1 to \(limit)")
        }
        return count
    }

    func number(
        _ key: String, default value: Double? = nil, in range: ClosedRange<Double>
    ) throws -> Double {
        if let field = json[key], !field.isNull {
            if let number = field.double, range.contains(number) { return number }
        } else if let value {
            return value
        }
        throw malformed(
            key, expected: "a number from \(range.lowerBound) to \(range.upperBound)")
    }

    func flag(_ key: String) throws -> Bool {
        guard let field = json[key], !field.isNull else { return false }
        guard let flag = field.bool else { throw malformed(key, expected: "true or false") }
        return flag
    }
}
