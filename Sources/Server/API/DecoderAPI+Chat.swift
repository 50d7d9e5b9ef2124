import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension DecoderAPI {
    /// `POST /v1/chat/completions`.
    func chatCompletions(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try api.admission.enter()
        let chat = try ChatCompletionRequest(
            await api.fields(of: request), defaults: samplingDefaults, countLimit: answerLimit)
        let adapter = try await api.adapter(for: chat.model, in: adapters, context)
        let prompt = try await chatPrompt(
            chat.messages, tools: chat.shape.tools, variables: chat.templateVariables)
        var parameters = chat.parameters
        parameters.constraint = try await api.prepare { [grammars] in
            try grammars.automaton(for: chat.shape)
        }
        return try await answer(
            Work(
                requests: parameters.requests(prompt: prompt, adapter: adapter?.terms),
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
        let prompt = try await api.prepare { [api, model] in
            // The template writes the special tokens itself.
            let text = try api.chatText(messages, tools: tools, variables: variables)
            return model.tokenizer.encode(text, addSpecialTokens: false)
        }
        try check(prompt, parameter: "messages")
        return prompt
    }

    /// Who answers, under the name that was asked for.
    func identity(
        _ prefix: String, _ selection: ModelSelection, _ adapter: SelectedAdapter<EngineAdapter>?
    ) -> CompletionIdentity {
        CompletionIdentity(
            prefix: prefix, model: selection.name ?? api.options.modelName,
            fingerprint: fingerprint(adapter?.terms))
    }
}
