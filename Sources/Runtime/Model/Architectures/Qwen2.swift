/// Qwen 2 and 2.5: biases of queries, keys and values; upper blocks may attend locally.
enum Qwen2: Architecture {
    static let name = "Qwen2ForCausalLM"
    static let modelType = "qwen2"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        var model = try ModelConfiguration(
            fields,
            .init(
                intermediateSize: 22016, keyValueHeadCount: 32, vocabularySize: 151936,
                maximumPositions: 32768))
        try model.requireWholeRotation(fields)
        model.biasedModules = [.query, .key, .value]
        try model.readUpperWindow(fields)
        return model
    }
}

extension ModelConfiguration {
    /// Reads the window of blocks from `max_window_layers` on, if `use_sliding_window` asks for it.
    mutating func readUpperWindow(_ fields: ConfigurationFields) throws {
        guard try fields.flag("use_sliding_window") else { return }
        let lowest =
            fields.json["max_window_layers"]?.int == 0
            ? 0 : try fields.count("max_window_layers", default: 28, atMost: 1 << 14)
        try readWindow(fields, default: 4096) { $0 >= lowest }
    }
}
