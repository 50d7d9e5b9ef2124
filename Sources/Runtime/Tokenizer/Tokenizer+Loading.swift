import Foundation

extension Tokenizer {
    /// Reads a tokenizer.json; `source` is its path, for errors.
    ///
    /// - Throws: `.malformed` for a file that contradicts itself, `.unsupported` for a component that is
    ///   not implemented; both name the key.
    public init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        let document = try TokenizerDocument(parsing: bytes, source: source)
        let root = TokenizerSection(json: document.json, path: "", source: source)
        guard let modelSection = root.section("model") else {
            throw root.failure(.malformed, "model", "a tokenizer without vocabulary")
        }
        let normalizer = try root.section("normalizer").map(makeNormalizer)
        let isByteLevel = root.section("pre_tokenizer")?.endsInByteLevel == true
        let words = try Vocabulary(modelSection, of: document)
        try self.init(
            TokenizerPipeline(
                addedTokens: try root.sections("added_tokens").map {
                    try AddedToken($0, normalizer: normalizer)
                },
                normalizer: normalizer,
                preTokenizer: try root.section("pre_tokenizer").map(makePreTokenizer),
                vocabulary: words,
                model: try makeTokenModel(
                    modelSection, document: document, vocabulary: words, isByteLevel: isByteLevel),
                postProcessor: try root.section("post_processor").map(PostProcessor.init)
                    ?? PostProcessor(),
                decodingStages: try root.section("decoder").map(makeDecodingStages)
                    ?? [SpacedDecoding()]),
            root: root)
    }

    /// Takes a tokenizer.json that is in memory; the rest is as above.
    public init(json: JSON, source: String) throws {
        self = try json.data().withUnsafeBytes { try Tokenizer(parsing: $0, source: source) }
    }

    /// Reads the tokenizer of a model's folder: its tokenizer.json, or else its SentencePiece model, tiktoken
    /// ranks or vocab.txt, with what tokenizer_config.json says.
    public init(folder: String) throws {
        self = try TokenizerFiles(path: folder).tokenizer()
    }

    /// Takes the special tokens' roles from tokenizer_config.json.
    ///
    /// Its `add_bos_token` and `add_eos_token` are passed over: beside a tokenizer.json, whose
    /// post-processor says what is added, transformers does so too.
    public mutating func apply(configuration: JSON, source: String) throws {
        let root = TokenizerSection(json: configuration, path: "", source: source)
        func role(_ key: String) throws -> Int32? {
            guard let section = root.section(key) else { return nil }
            guard let token = section.json.string ?? section.json["content"]?.string else {
                throw section.failure(.malformed, nil, "not a token")
            }
            guard let id = id(of: token) else {
                throw section.failure(
                    .mismatch, nil, "a token that the vocabulary has not", got: token)
            }
            return id
        }
        beginningOfText = try role("bos_token") ?? beginningOfText
        endOfText = try role("eos_token") ?? endOfText
    }
}

extension TokenizerSection {
    /// Whether this pre-tokenizer hands bytes, spelled as characters, to the model.
    fileprivate var endsInByteLevel: Bool {
        switch json["type"]?.string {
        case "ByteLevel": true
        case "Sequence":
            (try? sections("pretokenizers").last?.endsInByteLevel) == true
        default: false
        }
    }
}
