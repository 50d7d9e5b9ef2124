import LorikeetRuntime

/// The body of `POST /v1/chat/completions`.
struct ChatCompletionRequest {
    /// Which adapter answers.
    var model: ModelSelection
    /// The conversation.
    var messages: [ChatMessage]
    /// Further variables for the chat template.
    var templateVariables: [String: JSON]
    /// How the answer is made.
    var parameters: GenerationParameters
    /// What it must look like.
    var shape: AnswerShape
    /// Whether tokens come with their log probabilities.
    var reportsLogProbabilities: Bool

    /// Reads a request.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields, defaults: SamplingParameters, countLimit: Int) throws {
        model = try ModelSelection(fields)
        messages = try fields.messages()
        templateVariables = try fields.templateVariables()
        parameters = try GenerationParameters(fields, defaults: defaults, countLimit: countLimit)
        parameters.maximumTokens =
            try fields.int("max_completion_tokens", in: 1 ... .max)
            ?? fields.int("max_tokens", in: 1 ... .max)
        shape = try AnswerShape(fields)
        let top = try fields.int("top_logprobs", in: 0...20)
        reportsLogProbabilities = try fields.bool("logprobs") ?? false
        guard top == nil || reportsLogProbabilities else {
            throw APIError.invalid("top_logprobs", "top_logprobs goes with \"logprobs\": true.")
        }
        parameters.sampling.topLogProbabilities = reportsLogProbabilities ? top ?? 0 : nil
        try Self.refuseOtherForms(fields)
    }

    private static func refuseOtherForms(_ fields: RequestFields) throws {
        if let forms = try fields.array("modalities"), forms != ["text"] {
            throw APIError.unsupported("modalities", "modalities: text alone is supported.")
        }
        for name in ["audio", "web_search_options"] where fields.value(name) != nil {
            throw APIError.unsupported(name, "\(name) is not supported.")
        }
        _ = try fields.object("metadata")
        _ = try fields.bool("store")
        _ = try fields.string("reasoning_effort")
    }
}

extension RequestFields {
    /// `messages`, their texts joined where they come in parts.
    ///
    /// - Throws: `APIError` that names the message.
    func messages() throws -> [ChatMessage] {
        _ = try required("messages")
        let messages = try array("messages") ?? []
        guard !messages.isEmpty else {
            throw APIError.invalid("messages", "messages: expected at least one.")
        }
        return try messages.enumerated().map { index, message in
            try Self.message(message, name: "messages[\(index)]")
        }
    }

    /// `chat_template_kwargs`, vLLM's and llama.cpp's name.
    func templateVariables() throws -> [String: JSON] {
        guard let object = try object("chat_template_kwargs") else { return [:] }
        return Dictionary(object.map { ($0.key, $0.value) }) { $1 }
    }

    private static func message(_ json: JSON, name: String) throws -> ChatMessage {
        guard case .object(var message) = json else {
            throw APIError.type(name, expected: "an object", got: json)
        }
        guard let role = message["role"]?.string else {
            throw APIError.invalid(name + ".role", "\(name).role: expected a string.")
        }
        // OpenAI's newer word, which templates do not know.
        if role == "developer" { message["role"] = "system" }
        switch message["content"] {
        case .array(let parts): message["content"] = .string(try text(parts, name: name))
        case .string, .null, nil: break
        case .some(let other):
            throw APIError.type(
                name + ".content", expected: "a string or an array of parts", got: other)
        }
        do {
            return try ChatMessage(.object(message), source: name)
        } catch let error as LorikeetError {
            throw APIError.invalid(name, error.description)
        }
    }

    private static func text(_ parts: [JSON], name: String) throws -> String {
        try parts.enumerated().map { index, part in
            let name = "\(name).content[\(index)]"
            switch part["type"]?.string {
            case "text":
                guard let text = part["text"]?.string else {
                    throw APIError.invalid(name + ".text", "\(name).text: expected a string.")
                }
                return text
            case "refusal": return part["refusal"]?.string ?? ""
            case let type?:
                throw APIError.unsupported(name, "\(name): a part of type \"\(type)\".")
            case nil:
                throw APIError.invalid(name + ".type", "\(name).type: expected a string.")
            }
        }.joined(separator: "\n")
    }
}
