/// A family of decoders: which parts its blocks have, and what its config.json calls them.
protocol Architecture: Sendable {
    /// `architectures` in config.json.
    static var name: String { get }
    /// `model_type`.
    static var modelType: String { get }
    /// Reads config.json.
    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration
}

/// Those that there are.
enum Architectures {
    private static let all: [any Architecture.Type] = [
        Llama.self, Mistral.self, Qwen2.self, Qwen3.self, Gemma2.self, Gemma3.self, Phi3.self,
    ]

    /// The one that config.json names.
    ///
    /// - Throws: `.unsupported` for another.
    static func architecture(of fields: ConfigurationFields) throws -> any Architecture.Type {
        let name = fields.json["architectures"]?.array?.first?.string
        let modelType = fields.json["model_type"]?.string
        let found = all.first {
            name == nil ? modelType == $0.modelType : name == $0.name
        }
        guard let found, modelType == nil || modelType == found.modelType else {
            throw LorikeetError(
                .unsupported, fields.source, "the architecture is not one that Lorikeet runs",
                expected: "one of \(all.map { $0.name }.joined(separator: ", "))",
                got: name.map { "\($0) (\(modelType ?? "no model_type"))" } ?? modelType
                    ?? "neither architectures nor model_type")
        }
        return found
    }
}
