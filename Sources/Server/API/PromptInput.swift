import LorikeetRuntime

/// A text that a request gives as it is, or as tokens.
enum PromptInput: Sendable {
    /// A text.
    case text(String)
    /// Tokens.
    case tokens([Int32])

    /// Reads a text, some texts, tokens, or some lists of tokens.
    ///
    /// - Throws: `APIError` that names the parameter, `name`.
    static func list(_ value: JSON, name: String) throws -> [PromptInput] {
        if let text = value.string { return [.text(text)] }
        guard let values = value.array else {
            throw APIError.type(name, expected: "a string or an array", got: value)
        }
        guard let first = values.first else {
            throw APIError.invalid(name, "\(name): expected at least one.")
        }
        if first.int != nil { return [.tokens(try tokens(value, name: name))] }
        return try values.enumerated().map { index, value in
            try value.string.map(PromptInput.text)
                ?? .tokens(tokens(value, name: "\(name)[\(index)]"))
        }
    }

    /// Checks how many inputs a request brings: OpenAI's limit.
    static func check(count: Int, name: String) throws {
        guard count <= inputLimit else {
            throw APIError.invalid(
                name, "\(name): expected at most \(inputLimit), got \(count).")
        }
    }

    private static let inputLimit = 2048

    private static func tokens(_ value: JSON, name: String) throws -> [Int32] {
        guard let values = value.array else {
            throw APIError.type(name, expected: "a string or tokens", got: value)
        }
        return try values.map { value in
            guard let token = value.int.flatMap({ Int32(exactly: $0) }) else {
                throw APIError.type(name, expected: "tokens", got: value)
            }
            return token
        }
    }

    /// Its tokens.
    func tokens(_ tokenizer: Tokenizer) -> [Int32] {
        switch self {
        case .text(let text): tokenizer.encode(text)
        case .tokens(let tokens): tokens
        }
    }

    /// Its text.
    func text(_ tokenizer: Tokenizer) -> String {
        switch self {
        case .text(let text): text
        case .tokens(let tokens): tokenizer.decode(tokens)
        }
    }
}
