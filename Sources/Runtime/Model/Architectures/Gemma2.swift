/// Gemma 2: norms on both sides of the sublayers, capped scores and logits, every other block local.
enum Gemma2: Architecture {
    static let name = "Gemma2ForCausalLM"
    static let modelType = "gemma2"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(gemma: fields)
        try model.requireWholeRotation(fields)
        let caps = 1e-3...1e6
        model.attentionCap = try fields.optionalNumber(
            "attn_logit_softcapping", default: 50, in: caps
        ).map { Float($0) }
        model.logitCap = try fields.optionalNumber(
            "final_logit_softcapping", default: 30, in: caps
        ).map { Float($0) }
        try model.readWindow(fields, default: 4096) { ($0 + 1) % 2 != 0 }
        return model
    }
}

extension ModelConfiguration {
    /// Reads what Gemma 2 and 3 have in common.
    ///
    /// - Parameters:
    ///   - fields: config.json.
    ///   - rope: where the rotary embedding's parameters are; nil for the usual place.
    ///   - vocabularySize: where it is absent.
    ///   - maximumPositions: where they are absent.
    ///   - theta: the rotary frequencies' base, where it is absent.
    /// - Throws: as `init(_:source:)`.
    init(
        gemma fields: ConfigurationFields, rope: ConfigurationFields? = nil,
        vocabularySize: Int = 256_000, maximumPositions: Int = 8192, theta: Double = 10000
    ) throws {
        try self.init(
            fields,
            Defaults(
                hiddenSize: 2304, intermediateSize: 9216, layerCount: 26, headCount: 8,
                keyValueHeadCount: 4, headSize: 256, vocabularySize: vocabularySize,
                maximumPositions: maximumPositions, tiesEmbeddings: true,
                activation: ("hidden_activation", "gelu_pytorch_tanh")),
            rope: rope, theta: theta)
        normalizesResults = true
        normOffset = 1
        embeddingScale = Self.embeddingScale(fields, hiddenSize: hiddenSize)
        attentionScale = Float(
            1
                / (try fields.number("query_pre_attn_scalar", default: 256, in: 1e-3...1e6))
                .squareRoot())
        try readAttentionBias(fields)
        if try fields.flag("use_bidirectional_attention") {
            throw LorikeetError(
                .unsupported, fields.source,
                "use_bidirectional_attention is true: decoders see what precedes")
        }
    }

    /// √hidden in the type of the weights, as transformers rounds it.
    private static func embeddingScale(_ fields: ConfigurationFields, hiddenSize: Int) -> Float {
        let scale = Float(hiddenSize).squareRoot()
        let dropped: UInt32
        switch (fields.json["dtype"] ?? fields.json["torch_dtype"])?.string {
        case "bfloat16": dropped = 16
        case "float16": dropped = 13
        default: return scale
        }
        // To the nearest with so many bits less, ties to even.
        let bits = scale.bitPattern
        let unit: UInt32 = 1 << dropped
        return Float(bitPattern: (bits + unit / 2 - 1 + (bits >> dropped & 1)) & ~(unit - 1))
    }
}
