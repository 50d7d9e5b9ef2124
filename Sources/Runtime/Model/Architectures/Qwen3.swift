/// Qwen 3: each head's queries and keys are normalized; upper blocks may attend locally.
enum Qwen3: Architecture {
    static let name = "Qwen3ForCausalLM"
    static let modelType = "qwen3"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(
            fields,
            .init(
                intermediateSize: 22016, keyValueHeadCount: 32, headSize: 128,
                vocabularySize: 151936, maximumPositions: 32768))
        try model.requireWholeRotation(fields)
        model.normalizesHeads = true
        try model.readAttentionBias(fields)
        try model.readUpperWindow(fields)
        return model
    }
}
