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
        let added = try root.sections("added_tokens").map(AddedToken.init)
        let normalizer = try root.section("normalizer").map(makeNormalizer)
        let isByteLevel = root.section("pre_tokenizer")?.endsInByteLevel == true

        let words = try Vocabulary(modelSection, of: document)
        var vocabulary = words
        for token in added {
            try token.content.withUnsafeBufferPointer { content in
                guard let id = vocabulary.id(of: content) else {
                    let count = words.count + added.count
                    return try vocabulary.insert(content, id: token.id, of: count, section: root)
                }
                guard id == token.id else {
                    throw root.failure(
                        .malformed, "added_tokens",
                        "\(String(reflecting: String(decoding: content, as: UTF8.self))) has two ids",
                        expected: "\(id)", got: "\(token.id)")
                }
            }
        }

        func matcher(normalized: Bool) -> AddedTokenMatcher {
            let tokens = added.filter { $0.isNormalized == normalized }
            return AddedTokenMatcher(
                tokens,
                contents: tokens.map { token in
                    var content = token.content
                    if normalized { normalizer?.normalize(&content) }
                    return content
                })
        }
        addedTokens = matcher(normalized: false)
        normalizedAddedTokens = matcher(normalized: true)
        specialIDs = Set(added.lazy.filter(\.isSpecial).map(\.id))
        self.normalizer = normalizer
        preTokenizer = try root.section("pre_tokenizer").map(makePreTokenizer)
        model = try makeTokenModel(
            modelSection, merges: document.merges, vocabulary: words, isByteLevel: isByteLevel)
        postProcessor =
            try root.section("post_processor").map(PostProcessor.init) ?? PostProcessor()
        for id in postProcessor.addedIDs where vocabulary.bytes(of: id) == nil {
            throw root.failure(
                .malformed, "post_processor", "adds a token that is not there", got: "\(id)")
        }
        decodingStages = try root.section("decoder").map(makeDecodingStages) ?? [SpacedDecoding()]
        self.vocabulary = vocabulary
    }

    /// Takes a tokenizer.json that is in memory; the rest is as above.
    public init(json: JSON, source: String) throws {
        self = try json.data().withUnsafeBytes { try Tokenizer(parsing: $0, source: source) }
    }

    /// Reads the tokenizer.json of a model's folder, and its tokenizer_config.json if there is one.
    public init(folder: String) throws {
        let path = (folder as NSString).appendingPathComponent("tokenizer.json")
        let file = try MappedFile(path: path)
        self = try withExtendedLifetime(file) {
            try Tokenizer(parsing: file.bytes, source: path)
        }
        let configuration = (folder as NSString).appendingPathComponent("tokenizer_config.json")
        guard FileManager.default.fileExists(atPath: configuration) else { return }
        try apply(configuration: JSON(contentsOf: configuration), source: configuration)
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
        beginningOfText = try role("bos_token")
        endOfText = try role("eos_token")
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
