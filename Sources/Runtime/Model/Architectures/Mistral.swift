/// Mistral: a Llama whose blocks may all attend locally.
enum Mistral: Architecture {
    static let name = "MistralForCausalLM"
    static let modelType = "mistral"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(
            fields,
            .init(intermediateSize: 14336, keyValueHeadCount: 8, maximumPositions: 131072))
        try model.requireWholeRotation(fields)
        try model.readWindow(fields, default: 4096) { _ in true }
        return model
    }
}
