import LorikeetRuntime

/// What every request for text says: how long, how chosen, how many, and in which form it comes back.
struct GenerationParameters {
    /// The longest answer; nil for as long as the model goes on.
    var maximumTokens: Int?
    /// How tokens are chosen; the seed is the first choice's.
    var sampling: SamplingParameters
    /// Texts that end the answer.
    var stop: [String]
    /// Whether the answer goes on past an end token.
    var ignoresEndTokens: Bool
    /// What the answer is bound to; nil for nothing.
    var constraint: ConstraintAutomaton?
    /// Whether the prompt's tokens come with their log probabilities.
    var reportsPrompt = false
    /// How many answers.
    var count: Int
    /// Whether the answer comes in pieces.
    var streams: Bool
    /// Whether a last piece tells the number of tokens.
    var includesUsage: Bool

    // OpenAI takes four stop texts; their length bounds what is held back while looking for them.
    private static let stopLimit = 4
    private static let stopBytes = 1024

    /// Reads the parameters.
    ///
    /// - Parameters:
    ///   - fields: a request's.
    ///   - defaults: how tokens are chosen where the request says nothing.
    ///   - countLimit: the most answers to one prompt.
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields, defaults: SamplingParameters, countLimit: Int) throws {
        sampling = defaults
        sampling.temperature =
            try fields.number("temperature", in: 0...2) ?? defaults.temperature
        // Below, logits divided by it leave fp32's range; the likeliest token has all of the probability.
        if sampling.temperature < 1e-3 { sampling.temperature = 0 }
        sampling.topP = try fields.number("top_p", in: 0...1) ?? defaults.topP
        guard sampling.topP > 0 else {
            throw APIError.invalid("top_p", "top_p: expected more than 0, at most 1, got 0.")
        }
        // vLLM's -1 and llama.cpp's 0 both keep all tokens.
        sampling.topK = max(0, try fields.int("top_k", in: -1...Int(Int32.max)) ?? defaults.topK)
        sampling.minP = try fields.number("min_p", in: 0...1) ?? defaults.minP
        sampling.presencePenalty = try fields.number("presence_penalty", in: -2...2) ?? 0
        sampling.frequencyPenalty = try fields.number("frequency_penalty", in: -2...2) ?? 0
        sampling.repetitionPenalty =
            try fields.number("repetition_penalty", in: 0.01...100)
            ?? defaults.repetitionPenalty
        sampling.logitBias = try Self.bias(fields.object("logit_bias") ?? [:])
        sampling.seed =
            try fields.int("seed", in: .min ... .max).map { UInt64(bitPattern: Int64($0)) }
            ?? .random(in: .min ... .max)
        stop = try Self.stop(fields)
        ignoresEndTokens = try fields.bool("ignore_eos") ?? false
        count = try fields.int("n", in: 1...countLimit) ?? 1
        streams = try fields.bool("stream") ?? false
        let options = try fields.fields("stream_options")
        guard options == nil || streams else {
            throw APIError.invalid(
                "stream_options", "stream_options goes with \"stream\": true.")
        }
        includesUsage = try options?.bool("include_usage") ?? false
        _ = try fields.string("user")
    }

    /// One engine request for each answer to `prompt`, whose seeds count up.
    func requests(prompt: [Int32], adapter: EngineAdapter?) -> [EngineRequest] {
        (0..<count).map { index in
            var request = EngineRequest(prompt: prompt)
            request.maximumTokens = maximumTokens
            request.sampling = sampling
            request.sampling.seed &+= UInt64(index)
            request.reportsPrompt = reportsPrompt
            request.stopStrings = stop
            request.ignoresEndTokens = ignoresEndTokens
            request.constraint = constraint
            request.adapter = adapter
            return request
        }
    }

    private static func stop(_ fields: RequestFields) throws -> [String] {
        guard let value = fields.value("stop") else { return [] }
        let values = value.array ?? [value]
        guard values.count <= stopLimit else {
            throw APIError.invalid(
                "stop", "stop: expected at most \(stopLimit) texts, got \(values.count).")
        }
        return try values.map { value in
            guard let text = value.string else {
                throw APIError.type("stop", expected: "a string or an array of them", got: value)
            }
            guard (1...stopBytes).contains(text.utf8.count) else {
                throw APIError.invalid(
                    "stop",
                    "stop: expected texts of 1 to \(stopBytes) bytes, got \(text.utf8.count)."
                )
            }
            return text
        }
    }

    private static func bias(_ object: JSON.Object) throws -> [Int32: Float] {
        var bias: [Int32: Float] = [:]
        for (token, value) in object {
            guard let token = Int32(token), let number = value.double, (-100...100).contains(number)
            else {
                throw APIError.invalid(
                    "logit_bias",
                    "logit_bias: expected numbers from -100 to 100 by token, got \(value.kind) at \(token)."
                )
            }
            bias[token] = Float(number)
        }
        return bias
    }
}
