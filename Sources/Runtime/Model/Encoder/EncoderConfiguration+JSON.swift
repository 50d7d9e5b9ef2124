import LorikeetQuant

extension EncoderConfiguration {
    /// Whether `configuration` is of an encoder, by its `model_type`.
    public static func describes(_ configuration: JSON) -> Bool {
        configuration["model_type"]?.string.flatMap(Architecture.init(rawValue:)) != nil
    }

    /// The configuration of `checkpoint`.
    ///
    /// - Throws: as `init(_:source:)`.
    public init(_ checkpoint: any Checkpoint) throws {
        try self.init(checkpoint.configuration, source: checkpoint.path + "/config.json")
    }

    /// Reads a config.json; `source` is its path, for errors.
    ///
    /// - Throws: `.unsupported` for another architecture, or a variation of one that is not carried out;
    ///   `.malformed` for a field out of range.
    public init(_ configuration: JSON, source: String) throws {
        let fields = ConfigurationFields(configuration, source)
        guard let type = configuration["model_type"]?.string,
            let architecture = Architecture(rawValue: type)
        else {
            throw LorikeetError(
                .unsupported, source, "the model is no encoder that Lorikeet runs",
                expected: "model_type bert or deberta-v2",
                got: configuration["model_type"]?.text() ?? "none")
        }
        let activation = configuration["hidden_act"]?.string ?? "gelu"
        guard activation == "gelu" else {
            throw LorikeetError(
                .unsupported, source, "hidden_act is not supported", expected: "gelu",
                got: activation)
        }
        hiddenSize = try fields.count("hidden_size", default: 768, atMost: 1 << 20)
        headCount = try fields.count("num_attention_heads", default: 12, atMost: 1 << 14)
        guard hiddenSize % headCount == 0 else {
            throw fields.malformed(
                "hidden_size", expected: "a multiple of num_attention_heads, \(headCount)")
        }
        self.architecture = architecture
        intermediateSize = try fields.count("intermediate_size", default: 3072, atMost: 1 << 22)
        layerCount = try fields.count("num_hidden_layers", default: 12, atMost: 1 << 14)
        let isBert = architecture == .bert
        vocabularySize = try fields.count(
            "vocab_size", default: isBert ? 30522 : 128100, atMost: 1 << 24)
        maximumPositions = try fields.count(
            "max_position_embeddings", default: 512, atMost: 1 << 20)
        let typeCount = configuration["type_vocab_size"]?.int ?? (isBert ? 2 : 0)
        guard (0...256).contains(typeCount) else {
            throw fields.malformed("type_vocab_size", expected: "a whole number from 0 to 256")
        }
        tokenTypeCount = typeCount
        normEpsilon = Float(
            try fields.number("layer_norm_eps", default: isBert ? 1e-12 : 1e-7, in: 0...1))
        labels = try Self.labels(configuration, fields)
        switch architecture {
        case .bert:
            try Self.require(
                fields, "position_embedding_type", .string("absolute"), orNothing: true)
            (embedsPositions, relativePositions) = (true, nil)
            normalizesRelativePositions = false
        case .debertaV2:
            try Self.requireVersion3(fields)
            (embedsPositions, normalizesRelativePositions) = (
                try fields.flag("position_biased_input", default: true),
                configuration["norm_rel_ebd"]?.string == "layer_norm"
            )
            let maximum = configuration["max_relative_positions"]?.int ?? -1
            relativePositions = RelativePositions(
                buckets: max(0, configuration["position_buckets"]?.int ?? 0),
                maximumDistance: maximum < 1 ? maximumPositions : maximum)
        }
    }

    /// What DeBERTaV2 leaves open and DeBERTaV3 settles; nothing else is carried out.
    private static func requireVersion3(_ fields: ConfigurationFields) throws {
        try require(fields, "relative_attention", true)
        try require(fields, "share_att_key", true)
        let types = fields.json["pos_att_type"]
        let names =
            types?.array?.compactMap(\.string)
            ?? types?.string?.split(separator: "|").map { $0.trimmingPrefix(" ").description } ?? []
        guard Set(names) == ["c2p", "p2c"] else {
            throw LorikeetError(
                .unsupported, fields.source, "pos_att_type is not supported",
                expected: "p2c and c2p", got: types?.text() ?? "nothing")
        }
        try require(fields, "conv_kernel_size", .int(0), orNothing: true)
        let width = fields.json["embedding_size"]?.int
        guard width == nil || width == fields.json["hidden_size"]?.int else {
            throw LorikeetError(
                .unsupported, fields.source, "embedding_size is not hidden_size",
                got: "\(width ?? 0)")
        }
        let normalization = fields.json["norm_rel_ebd"]?.string ?? "none"
        guard ["none", "layer_norm"].contains(normalization) else {
            throw LorikeetError(
                .unsupported, fields.source, "norm_rel_ebd is not supported",
                expected: "none or layer_norm", got: normalization)
        }
        let activation = fields.json["pooler_hidden_act"]?.string ?? "gelu"
        guard activation == "gelu" else {
            throw LorikeetError(
                .unsupported, fields.source, "pooler_hidden_act is not supported",
                expected: "gelu", got: activation)
        }
    }

    private static func require(
        _ fields: ConfigurationFields, _ key: String, _ value: JSON, orNothing: Bool = false
    ) throws {
        let got = fields.json[key] ?? .null
        guard got == value || (orNothing && got.isNull) else {
            throw LorikeetError(
                .unsupported, fields.source, "\(key) is not supported", expected: value.text(),
                got: got.text())
        }
    }

    /// `id2label` by ascending id, or transformers' names for `num_labels` classes, two by default.
    private static func labels(
        _ configuration: JSON, _ fields: ConfigurationFields
    ) throws -> [String] {
        guard let members = configuration["id2label"]?.object, !members.isEmpty else {
            let count = try fields.count("num_labels", default: 2, atMost: 1 << 16)
            return (0..<count).map { "LABEL_\($0)" }
        }
        return try (0..<members.count).map { id in
            guard let name = members["\(id)"]?.string else {
                throw fields.malformed(
                    "id2label", expected: "names of the classes 0 to \(members.count - 1)")
            }
            return name
        }
    }
}

extension ConfigurationFields {
    /// A flag that is `value` where it is absent.
    fileprivate func flag(_ key: String, default value: Bool) throws -> Bool {
        json[key].map { !$0.isNull } ?? false ? try flag(key) : value
    }
}
