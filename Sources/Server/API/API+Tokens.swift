import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// `POST /tokenize`: llama.cpp's `content`, vLLM's `prompt` or `messages`.
    func tokenize(_ request: Request, _ context: APIContext) async throws -> Response {
        let fields = try await fields(of: request)
        let tokenizer = runner.tokenizer
        if let content = try fields.string("content") {
            let addSpecial = try fields.bool("add_special") ?? false
            let withPieces = try fields.bool("with_pieces") ?? false
            let tokens = try await prepare {
                tokenizer.encode(content, addSpecialTokens: addSpecial)
            }
            return .json([
                "tokens": .array(
                    tokens.map { token in
                        withPieces
                            ? ["id": .int(Int(token)), "piece": tokenizer.piece(token)]
                            : .int(Int(token))
                    })
            ])
        }
        let tokens = try await tokens(of: fields)
        let withTexts = try fields.bool("return_token_strs") ?? false
        let texts = tokens.map { JSON.string(tokenizer.token(of: $0) ?? "") }
        return .json([
            "count": .int(tokens.count), "max_model_len": .int(runner.contextLength),
            "tokens": .array(tokens.map { .int(Int($0)) }),
            "token_strs": withTexts ? .array(texts) : .null,
        ])
    }

    private func tokens(of fields: RequestFields) async throws -> [Int32] {
        if let prompt = try fields.string("prompt") {
            let addSpecial = try fields.bool("add_special_tokens") ?? true
            return try await prepare { [runner] in
                runner.tokenizer.encode(prompt, addSpecialTokens: addSpecial)
            }
        }
        guard fields.value("messages") != nil else {
            throw APIError(
                .badRequest, "Give content, prompt or messages.", parameter: "content",
                code: "missing_required_parameter")
        }
        let text = try await templated(fields)
        return try await prepare { [runner] in
            runner.tokenizer.encode(text, addSpecialTokens: false)
        }
    }

    /// `POST /detokenize`: the text under llama.cpp's name and vLLM's.
    func detokenize(_ request: Request, _ context: APIContext) async throws -> Response {
        let fields = try await fields(of: request)
        _ = try fields.required("tokens")
        let tokens = try (fields.array("tokens") ?? []).map { value in
            guard let token = value.int.flatMap({ Int32(exactly: $0) }),
                runner.tokenizer.token(of: token) != nil
            else {
                throw APIError.type("tokens", expected: "tokens of the vocabulary", got: value)
            }
            return token
        }
        let text = JSON.string(runner.tokenizer.decode(tokens))
        return .json(["content": text, "prompt": text])
    }

    /// `POST /apply-template`.
    func applyTemplate(_ request: Request, _ context: APIContext) async throws -> Response {
        let text = try await templated(fields(of: request))
        return .json(["prompt": .string(text)])
    }

    private func templated(_ fields: RequestFields) async throws -> String {
        let (messages, variables) = (try fields.messages(), try fields.templateVariables())
        let addPrompt = try fields.bool("add_generation_prompt") ?? true
        return try await prepare { [self] in
            try chatText(messages, variables: variables, addGenerationPrompt: addPrompt)
        }
    }

    /// The text of a conversation, up to where an answer begins.
    func chatText(
        _ messages: [ChatMessage], tools: [ToolDefinition] = [], variables: [String: JSON],
        addGenerationPrompt: Bool = true
    ) throws -> String {
        guard let template = runner.chatTemplate else {
            throw APIError.unsupported(
                "messages", "The model has no chat template: send a text instead.")
        }
        do {
            return try template.render(
                messages, addGenerationPrompt: addGenerationPrompt, offering: tools,
                extra: variables)
        } catch let error as LorikeetError {
            throw APIError.invalid("messages", error.description)
        }
    }
}

extension Tokenizer {
    /// A token's text, or its bytes where they are no text: llama.cpp's `piece`.
    fileprivate func piece(_ token: Int32) -> JSON {
        let bytes = textBytes(of: token)
        return String(validating: bytes, as: UTF8.self).map(JSON.string)
            ?? .array(bytes.map { .int(Int($0)) })
    }
}
