public import Foundation

/// The tokenizer and chat template of a checkpoint as the files of a Hugging Face folder.
///
/// A folder has them; a GGUF file has a vocabulary of its own that is converted.
public struct TokenizerFiles: Sendable {
    /// The files by name: tokenizer.json or another vocabulary, tokenizer_config.json, chat_template.jinja, ….
    public let files: [String: Data]
    private let path: String

    private static let names =
        VocabularyFile.names + VocabularyFile.sidecars
        + ["special_tokens_map.json", "chat_template.jinja"]

    /// Collects the files of `checkpoint`.
    public init(_ checkpoint: any Checkpoint) throws {
        if let gguf = checkpoint as? GGUFCheckpoint {
            try self.init(gguf.gguf)
        } else {
            try self.init(path: checkpoint.path, file: checkpoint.file)
        }
    }

    /// Collects the files of a folder or a GGUF file, which need not have weights.
    ///
    /// - Throws: `.notFound`; what reading a GGUF file throws.
    public init(path: String) throws {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw LorikeetError(.notFound, path, "there is no such file or folder")
        }
        guard isFolder.boolValue else {
            try self.init(GGUFFile(path: path))
            return
        }
        try self.init(path: path) { name in
            let file = path + "/" + name
            guard FileManager.default.fileExists(atPath: file) else { return nil }
            let mapped = try MappedFile(path: file)
            return withExtendedLifetime(mapped) { Data(mapped.bytes) }
        }
    }

    private init(path: String, file: (String) throws -> Data?) throws {
        self.path = path
        var files: [String: Data] = [:]
        for name in Self.names { files[name] = try file(name) }
        self.files = files
    }

    private init(_ gguf: GGUFFile) throws {
        path = gguf.path
        files = try huggingFaceTokenizer(
            ggufMetadata: gguf.metadata, source: gguf.path
        ).mapValues { file in
            if case .string(let text) = file { Data(text.utf8) } else { file.data(pretty: true) }
        }
    }

    /// Bytes of the files of `checkpoint`, which are not converted for it; another vocabulary than a
    /// tokenizer.json counts as the tokenizer.json that it would be.
    ///
    /// - Throws: what reading them throws.
    public static func byteCount(_ checkpoint: any Checkpoint) throws -> Int {
        if let gguf = checkpoint as? GGUFCheckpoint { return gguf.gguf.metadataByteCount }
        // Llama 3's 2.2 MB of ranks are a tokenizer.json of 17 MB, Llama 2's 0.5 MB one of 3.6 MB.
        let compactness = 8
        let used =
            try VocabularyFile.names.compactMap { name in
                try checkpoint.file(name).map {
                    $0.count * (name == "tokenizer.json" ? 1 : compactness)
                }
            }.first ?? 0
        return try names.filter { !VocabularyFile.names.contains($0) }.reduce(used) {
            $0 + (try checkpoint.file($1)?.count ?? 0)
        }
    }

    /// The tokenizer.
    ///
    /// - Throws: `.notFound` without a vocabulary, and what `Tokenizer` throws.
    public func tokenizer() throws -> Tokenizer { try Tokenizer(folder: path) { files[$0] } }

    /// The file that the tokenizer is read from; nil without one.
    public var vocabulary: Data? { VocabularyFile.names.lazy.compactMap { files[$0] }.first }

    /// The chat template; nil when the model has none.
    public func chatTemplate() throws -> ChatTemplate? {
        try ChatTemplate.choose(
            files["chat_template.jinja"].map { String(decoding: $0, as: UTF8.self) },
            configuration: json("tokenizer_config.json"), folder: path)
    }

    /// A file as JSON; nil without it.
    func json(_ name: String) throws -> JSON? {
        try files[name].map { data in
            try data.withUnsafeBytes { try JSON(parsing: $0, source: path + "/" + name) }
        }
    }
}
