public import Foundation

/// The tokenizer and chat template of a checkpoint as the files of a Hugging Face folder.
///
/// A folder has them; a GGUF file has a vocabulary of its own that is converted.
public struct TokenizerFiles: Sendable {
    /// The files by name: tokenizer.json, tokenizer_config.json, chat_template.jinja, ….
    public let files: [String: Data]
    private let path: String

    private static let names = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    ]

    /// Collects the files of `checkpoint`.
    public init(_ checkpoint: any Checkpoint) throws {
        path = checkpoint.path
        if let gguf = checkpoint as? GGUFCheckpoint {
            files = try huggingFaceTokenizer(
                ggufMetadata: gguf.gguf.metadata, source: checkpoint.path
            ).mapValues { file in
                if case .string(let text) = file {
                    Data(text.utf8)
                } else {
                    file.data(pretty: true)
                }
            }
        } else {
            var files: [String: Data] = [:]
            for name in Self.names { files[name] = try checkpoint.file(name) }
            self.files = files
        }
    }

    /// Bytes of the files of `checkpoint`, which are not converted for it.
    ///
    /// - Throws: what reading them throws.
    public static func byteCount(_ checkpoint: any Checkpoint) throws -> Int {
        if let gguf = checkpoint as? GGUFCheckpoint { return gguf.gguf.metadataByteCount }
        return try names.reduce(0) { $0 + (try checkpoint.file($1)?.count ?? 0) }
    }

    /// The tokenizer.
    ///
    /// - Throws: `.notFound` without a tokenizer.json, and what `Tokenizer` throws.
    public func tokenizer() throws -> Tokenizer {
        guard let data = files["tokenizer.json"] else {
            throw LorikeetError(
                .notFound, path, "there is no tokenizer.json",
                advice: "Put the model's tokenizer.json into the folder.")
        }
        var tokenizer = try data.withUnsafeBytes {
            try Tokenizer(parsing: $0, source: path + "/tokenizer.json")
        }
        if let configuration = try self.json("tokenizer_config.json") {
            try tokenizer.apply(
                configuration: configuration, source: path + "/tokenizer_config.json")
        }
        return tokenizer
    }

    /// The chat template; nil when the model has none.
    public func chatTemplate() throws -> ChatTemplate? {
        try ChatTemplate.choose(
            files["chat_template.jinja"].map { String(decoding: $0, as: UTF8.self) },
            configuration: json("tokenizer_config.json"), folder: path)
    }

    private func json(_ name: String) throws -> JSON? {
        try files[name].map { data in
            try data.withUnsafeBytes { try JSON(parsing: $0, source: path + "/" + name) }
        }
    }
}
