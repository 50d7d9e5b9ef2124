/// Phi-3 and Phi-3.5: queries, keys and values are one layer, gate and linear half another; heads may rotate in
/// part, by LongRoPE's factors for texts of the original length.
enum Phi3: Architecture {
    static let name = "Phi3ForCausalLM"
    static let modelType = "phi3"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(
            fields,
            .init(
                hiddenSize: 3072, intermediateSize: 8192, vocabularySize: 32064,
                maximumPositions: 4096, normEpsilon: 1e-5))
        model.fusesProjections = true
        try model.readWindow(fields, default: nil) { _ in true }
        return model
    }
}
