import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// `POST /v1/chat/completions`.
    func chatCompletions(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try admission.enter()
        let chat = try ChatCompletionRequest(
            await fields(of: request), defaults: samplingDefaults, countLimit: answerLimit)
        let adapter = try await adapter(for: chat.model, context)
        let prompt = try await chatPrompt(
            chat.messages, tools: chat.shape.tools, variables: chat.templateVariables)
        var parameters = chat.parameters
        parameters.constraint = try await prepare { [grammars] in
            try grammars.automaton(for: chat.shape)
        }
        return try await answer(
            Work(
                requests: parameters.requests(prompt: prompt, adapter: adapter?.engine),
                answersPerPrompt: parameters.count, streams: parameters.streams,
                includesUsage: parameters.includesUsage, adapter: adapter,
                identity: identity("chatcmpl", chat.model, adapter),
                format: ChatFormat(
                    logProbabilities: chat.reportsLogProbabilities
                        ? LogProbabilities(tokenizer: model.tokenizer) : nil,
                    calls: chat.shape.tools.isEmpty ? nil : model.chatTemplate?.toolCallFormat)),
            holding: ticket, context)
    }

    /// The tokens of a conversation.
    ///
    /// - Throws: `APIError` that names messages: what the template says against them, or too many tokens.
    func chatPrompt(
        _ messages: [ChatMessage], tools: [ToolDefinition], variables: [String: JSON]
    ) async throws -> [Int32] {
        let prompt = try await prepare { [self] in
            // The template writes the special tokens itself.
            let text = try chatText(messages, tools: tools, variables: variables)
            return model.tokenizer.encode(text, addSpecialTokens: false)
        }
        try check(prompt, parameter: "messages")
        return prompt
    }

    /// The text of a conversation, up to where an answer begins.
    func chatText(
        _ messages: [ChatMessage], tools: [ToolDefinition] = [], variables: [String: JSON],
        addGenerationPrompt: Bool = true
    ) throws -> String {
        guard let template = model.chatTemplate else {
            throw APIError.unsupported(
                "messages", "The model has no chat template: use /v1/completions.")
        }
        do {
            return try template.render(
                messages, addGenerationPrompt: addGenerationPrompt, offering: tools,
                extra: variables)
        } catch let error as LorikeetError {
            throw APIError.invalid("messages", error.description)
        }
    }

    /// Who answers, under the name that was asked for.
    func identity(
        _ prefix: String, _ selection: ModelSelection, _ adapter: SelectedAdapter?
    ) -> CompletionIdentity {
        CompletionIdentity(
            prefix: prefix, model: selection.name ?? options.modelName,
            fingerprint: fingerprint(adapter))
    }
}
