/// Llama 1, 2 and 3, and what is made like them (SmolLM2).
enum Llama: Architecture {
    static let name = "LlamaForCausalLM"
    static let modelType = "llama"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(fields, ModelConfiguration.Defaults())
        try model.requireWholeRotation(fields)
        try model.readAttentionBias(fields)
        if try fields.flag("mlp_bias") {
            throw LorikeetError(
                .unsupported, fields.source, "mlp_bias is true: these biases are not supported")
        }
        return model
    }
}
