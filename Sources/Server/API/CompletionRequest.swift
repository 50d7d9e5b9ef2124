import LorikeetRuntime

/// The body of `POST /v1/completions`.
struct CompletionRequest {
    /// What is continued.
    enum Prompt {
        /// A text.
        case text(String)
        /// Tokens.
        case tokens([Int32])
    }

    /// Which adapter answers.
    var model: ModelSelection
    /// What is continued, each for itself.
    var prompts: [Prompt]
    /// How the continuations are made.
    var parameters: GenerationParameters
    /// Whether a continuation begins with its prompt.
    var echoes: Bool
    /// Whether tokens come with their log probabilities.
    var reportsLogProbabilities: Bool

    // OpenAI's number where a request says nothing.
    private static let usualTokens = 16

    /// Reads a request.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields, defaults: SamplingParameters, countLimit: Int) throws {
        model = try ModelSelection(fields)
        prompts = try Self.prompts(fields.required("prompt"))
        guard prompts.count <= countLimit else {
            throw APIError.invalid(
                "prompt", "prompt: expected at most \(countLimit), got \(prompts.count).")
        }
        parameters = try GenerationParameters(fields, defaults: defaults, countLimit: countLimit)
        parameters.maximumTokens =
            try fields.int("max_tokens", in: 0 ... .max) ?? Self.usualTokens
        echoes = try fields.bool("echo") ?? false
        let top = try fields.int("logprobs", in: 0...20)
        reportsLogProbabilities = top != nil
        parameters.sampling.topLogProbabilities = top
        guard !(echoes && reportsLogProbabilities) else {
            throw APIError.unsupported(
                "logprobs", "logprobs of an echoed prompt are not supported.")
        }
        if let suffix = try fields.string("suffix"), !suffix.isEmpty {
            throw APIError.unsupported("suffix", "suffix is not supported.")
        }
        if let best = try fields.int("best_of", in: 0 ... .max), best != parameters.count {
            throw APIError.unsupported("best_of", "best_of is not supported: use n.")
        }
    }

    /// A text, some texts, tokens, or some lists of tokens.
    private static func prompts(_ value: JSON) throws -> [Prompt] {
        if let text = value.string { return [.text(text)] }
        guard let values = value.array else {
            throw APIError.type("prompt", expected: "a string or an array", got: value)
        }
        guard let first = values.first else {
            throw APIError.invalid("prompt", "prompt: expected at least one.")
        }
        if first.int != nil { return [.tokens(try tokens(value, name: "prompt"))] }
        return try values.enumerated().map { index, value in
            try value.string.map(Prompt.text) ?? .tokens(tokens(value, name: "prompt[\(index)]"))
        }
    }

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
}
