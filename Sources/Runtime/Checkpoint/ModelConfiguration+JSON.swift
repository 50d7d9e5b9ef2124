extension ModelConfiguration {
    /// Reads config.json of an architecture that Lorikeet runs; what it leaves out has transformers' default.
    ///
    /// - Parameters:
    ///   - configuration: config.json.
    ///   - source: its path, for the error.
    /// - Throws: `.unsupported` for another architecture or a feature the model does not have;
    ///   `.malformed` for numbers that are no numbers, out of bounds, or contradict each other.
    public init(_ configuration: JSON, source: String) throws {
        let fields = ConfigurationFields(configuration, source)
        self = try Architectures.architecture(of: fields).configuration(fields)
    }

    /// What transformers takes for a field that config.json leaves out.
    struct Defaults {
        var hiddenSize = 4096
        var intermediateSize = 11008
        var layerCount = 32
        var headCount = 32
        /// nil for as many as heads.
        var keyValueHeadCount: Int?
        /// nil for the hidden size divided by the heads.
        var headSize: Int?
        var vocabularySize = 32000
        var maximumPositions = 2048
        var normEpsilon = 1e-6
        var tiesEmbeddings = false
        var activation = ("hidden_act", "silu")
    }

    /// Reads the fields that all decoders have.
    ///
    /// - Parameters:
    ///   - fields: config.json.
    ///   - defaults: what they are where they are absent.
    ///   - rope: where the rotary embedding's parameters are; nil for the usual place.
    ///   - theta: its base, where it is absent.
    /// - Throws: as `init(_:source:)`.
    init(
        _ fields: ConfigurationFields, _ defaults: Defaults,
        rope: ConfigurationFields? = nil, theta: Double = 10000
    ) throws {
        // Bounds far above any model there is, so that no product of two overflows.
        let hiddenSize = try fields.count(
            "hidden_size", default: defaults.hiddenSize, atMost: 1 << 20)
        let headCount = try fields.count(
            "num_attention_heads", default: defaults.headCount, atMost: 1 << 14)
        let usual =
            fields.isNull("num_key_value_heads")
            ? headCount : defaults.keyValueHeadCount ?? headCount
        let keyValueHeadCount = try fields.count(
            "num_key_value_heads", default: usual, atMost: 1 << 14)
        guard headCount % keyValueHeadCount == 0 else {
            throw fields.malformed(
                "num_key_value_heads", expected: "a divisor of num_attention_heads, \(headCount)")
        }
        let hasHeadSize = !(fields.json["head_dim"]?.isNull ?? (defaults.headSize == nil))
        guard hasHeadSize || hiddenSize % headCount == 0 else {
            throw fields.malformed(
                "hidden_size", expected: "a multiple of num_attention_heads, \(headCount)")
        }
        let headSize = try fields.count(
            "head_dim",
            default: fields.isNull("head_dim")
                ? hiddenSize / headCount : defaults.headSize ?? hiddenSize / headCount,
            atMost: 1 << 14)
        guard headSize % 2 == 0, headSize > 0 else {
            throw fields.malformed("head_dim", expected: "an even number, for rotary embeddings")
        }
        let maximumPositions = try fields.count(
            "max_position_embeddings", default: defaults.maximumPositions, atMost: 1 << 30)
        let rope = try RopeFields(
            fields, rope: rope, theta: theta, headSize: headSize,
            maximumPositions: maximumPositions)
        self.init(
            hiddenSize: hiddenSize,
            intermediateSize: try fields.count(
                "intermediate_size", default: defaults.intermediateSize, atMost: 1 << 22),
            layerCount: try fields.count(
                "num_hidden_layers", default: defaults.layerCount, atMost: 1 << 14),
            headCount: headCount, keyValueHeadCount: keyValueHeadCount, headSize: headSize,
            vocabularySize: try fields.count(
                "vocab_size", default: defaults.vocabularySize, atMost: 1 << 24),
            maximumPositions: rope.maximumPositions,
            normEpsilon: Float(
                try fields.number("rms_norm_eps", default: defaults.normEpsilon, in: 0...1)),
            ropeTheta: rope.theta, ropeScaling: rope.scaling,
            tiesEmbeddings: fields.json["tie_word_embeddings"]?.isNull ?? true
                ? defaults.tiesEmbeddings : try fields.flag("tie_word_embeddings"))
        rotarySize = Int(Double(headSize) * rope.share)
        guard rotarySize % 2 == 0, rotarySize > 0 else {
            throw fields.malformed(
                "partial_rotary_factor", expected: "a share of head_dim that is an even number")
        }
        activation = try Self.activation(fields, defaults.activation)
    }

    private static func activation(
        _ fields: ConfigurationFields, _ named: (key: String, value: String)
    ) throws -> GatedActivation {
        let field = fields.json[named.key] ?? .null
        switch field.isNull ? named.value : field.string {
        case "silu", "swish": return .silu
        case "gelu_pytorch_tanh", "gelu_new": return .gelu
        default: throw fields.unsupported(named.key, expected: "silu or gelu_pytorch_tanh")
        }
    }
}

/// What some architectures have.
extension ModelConfiguration {
    /// Refuses heads that rotate in part.
    func requireWholeRotation(_ fields: ConfigurationFields) throws {
        guard rotarySize == headSize else {
            throw LorikeetError(
                .unsupported, fields.source, "partial_rotary_factor is not 1",
                got: "\(Double(rotarySize) / Double(headSize))")
        }
    }

    /// Reads the window of the blocks that attend locally, and which these are: `layer_types`, or what
    /// `isLocal` says.
    ///
    /// - window: where `sliding_window` is absent; null is none.
    mutating func readWindow(
        _ fields: ConfigurationFields, default window: Int?, isLocal: (_ layer: Int) -> Bool
    ) throws {
        slidingWindow = try fields.optionalNumber(
            "sliding_window", default: window.map(Double.init), in: 1...Double(1 << 30)
        ).map { Int($0) }
        guard let types = fields.json["layer_types"], !types.isNull else {
            localLayers =
                slidingWindow == nil ? [] : Set((0..<layerCount).filter(isLocal))
            return
        }
        let names = types.array?.compactMap(\.string) ?? []
        guard names.count == layerCount else {
            throw fields.malformed(
                "layer_types", expected: "a name for each of \(layerCount) layers")
        }
        let known = ["full_attention", "sliding_attention"]
        guard names.allSatisfy(known.contains) else {
            throw fields.unsupported("layer_types", expected: known.joined(separator: " or "))
        }
        localLayers = Set(names.indices.filter { names[$0] == "sliding_attention" })
        guard localLayers.isEmpty || slidingWindow != nil else {
            throw fields.malformed("sliding_window", expected: "a number, for sliding_attention")
        }
    }

    /// The biases that `attention_bias` asks for: of queries, keys, values and attention's output.
    mutating func readAttentionBias(_ fields: ConfigurationFields) throws {
        if try fields.flag("attention_bias") { biasedModules = [.query, .key, .value, .output] }
    }
}
