import OrderedCollections

/// The `tokenizer.*` keys of a GGUF file, checked.
struct GGUFTokenizerMetadata {
    private static let prefix = "tokenizer.ggml."
    /// Types of tokens, as llama.cpp numbers them.
    private static let unknown = 2
    private static let control = 3
    private static let userDefined = 4

    private let metadata: OrderedDictionary<String, JSON>
    let source: String
    /// The kind of tokenizer: `gpt2`, `llama`, `bert` or `t5`.
    let model: String
    let tokens: [String]
    private let types: [Int]

    init(_ metadata: OrderedDictionary<String, JSON>, source: String) throws {
        self.metadata = metadata
        self.source = source
        func failure(_ key: String, _ problem: String) -> LorikeetError {
            LorikeetError(.malformed, source, "\(Self.prefix)\(key): \(problem)")
        }
        func array<Element>(_ key: String, _ convert: (JSON) -> Element?) throws -> [Element]? {
            guard let value = metadata[Self.prefix + key] else { return nil }
            guard let elements = value.array else { throw failure(key, "not an array") }
            return try elements.enumerated().map { index, element in
                guard let element = convert(element) else {
                    throw failure("\(key)[\(index)]", "of another type than expected")
                }
                return element
            }
        }
        guard let model = metadata[Self.prefix + "model"]?.string else {
            throw failure("model", "missing: a file without tokenizer")
        }
        guard let tokens = try array("tokens", \.string), !tokens.isEmpty else {
            throw failure("tokens", "a tokenizer without vocabulary")
        }
        self.model = model
        self.tokens = tokens
        types = try array("token_type", \.int) ?? []
        guard types.isEmpty || types.count == tokens.count else {
            throw failure("token_type", "\(types.count) types for \(tokens.count) tokens")
        }
    }

    func failure(
        _ code: LorikeetError.Code, _ key: String, _ problem: String, expected: String? = nil,
        got: String? = nil
    ) -> LorikeetError {
        LorikeetError(
            code, source, "\(Self.prefix)\(key): \(problem)", expected: expected, got: got)
    }

    /// The id of the unknown token: the one that has a role or, without one, the first of its type.
    func unknown() throws -> Int? { try id("unknown") ?? types.firstIndex(of: Self.unknown) }

    func isControl(_ id: Int) -> Bool { !types.isEmpty && types[id] == Self.control }
    func isUserDefined(_ id: Int) -> Bool { !types.isEmpty && types[id] == Self.userDefined }

    /// The pre-tokenizer's name, if the file names one.
    var preTokenizer: String? {
        get throws { try optional("pre", \.string) }
    }

    var chatTemplate: String? {
        get throws {
            guard let value = metadata["tokenizer.chat_template"] else { return nil }
            guard let text = value.string else {
                throw LorikeetError(.malformed, source, "tokenizer.chat_template: not a string")
            }
            return text
        }
    }

    /// `a b` pairs.
    var merges: [JSON]? {
        get throws { try optional("merges", \.array) }
    }

    /// One score for each token.
    func scores() throws -> [Double] {
        guard let elements = try optional("scores", \.array) else {
            throw failure(.malformed, "scores", "missing, and there are no merges")
        }
        let scores = elements.compactMap(\.double)
        guard scores.count == elements.count, scores.count == tokens.count else {
            throw failure(.malformed, "scores", "not a number for each of \(tokens.count) tokens")
        }
        return scores
    }

    /// SentencePiece's charsmap, a number for each byte; nil without one.
    func charsmap() throws -> [UInt8]? {
        guard let elements = try optional("precompiled_charsmap", \.array) else { return nil }
        return try elements.map { element in
            // Signed in the files of some writers.
            guard let byte = element.int, -128...255 ~= byte else {
                throw failure(.malformed, "precompiled_charsmap", "not bytes", got: element.text())
            }
            return UInt8(truncatingIfNeeded: byte)
        }
    }

    func flag(_ key: String, default fallback: Bool) throws -> Bool {
        try optional(key, \.bool) ?? fallback
    }

    /// The id of the token with a role: `bos`, `eos`, `unknown`, `padding`, `cls`, `seperator`, `mask`.
    func id(_ role: String) throws -> Int? {
        guard let id = try optional("\(role)_token_id", \.int) else { return nil }
        // llama.cpp writes -1 for none, which reads as the largest unsigned number.
        if id == -1 || id == Int(UInt32.max) { return nil }
        guard tokens.indices.contains(id) else {
            throw failure(
                .malformed, "\(role)_token_id", "no token's id",
                expected: "less than \(tokens.count)",
                got: "\(id)")
        }
        return id
    }

    /// The text of the token with a role.
    func token(_ role: String) throws -> String? { try id(role).map { tokens[$0] } }

    private func optional<Value>(_ key: String, _ convert: (JSON) -> Value?) throws -> Value? {
        guard let value = metadata[Self.prefix + key] else { return nil }
        guard let converted = convert(value) else {
            throw failure(.malformed, key, "of another type than expected")
        }
        return converted
    }
}
