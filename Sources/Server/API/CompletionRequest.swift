import LorikeetRuntime

/// The body of `POST /v1/completions`.
struct CompletionRequest {
    /// Which adapter answers.
    var model: ModelSelection
    /// What is continued, each for itself.
    var prompts: [PromptInput]
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
        prompts = try PromptInput.list(fields.required("prompt"), name: "prompt")
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
        parameters.reportsPrompt = echoes && reportsLogProbabilities
        if let suffix = try fields.string("suffix"), !suffix.isEmpty {
            throw APIError.unsupported("suffix", "suffix is not supported.")
        }
        if let best = try fields.int("best_of", in: 0 ... .max), best != parameters.count {
            throw APIError.unsupported("best_of", "best_of is not supported: use n.")
        }
    }
}
