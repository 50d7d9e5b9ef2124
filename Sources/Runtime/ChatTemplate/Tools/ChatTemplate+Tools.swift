extension ChatTemplate {
    /// How the model writes tool calls.
    public var toolCallFormat: ToolCallFormat { usesTools ? ToolCallFormat(of: source) : .hermes }

    /// The conversation as the model's prompt, with tools that it may call.
    ///
    /// A template that knows tools gets them as transformers passes them. For one that does not, the tools are
    /// listed in the system message in Hermes' words, past calls stand in the assistant's text as the model
    /// is asked to write them, and what tools answered is told by the user.
    ///
    /// - Parameters:
    ///   - messages: the conversation; arguments of past calls may be OpenAI's strings of JSON.
    ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
    ///   - tools: the functions on offer; empty for none.
    ///   - extra: further variables that the template knows.
    /// - Returns: the prompt's text, special tokens and all.
    /// - Throws: as `render(_:addGenerationPrompt:tools:extra:)`.
    public func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, offering tools: [ToolDefinition],
        extra: [String: JSON] = [:]
    ) throws -> String {
        let list = tools.isEmpty ? nil : JSON.array(tools.map(\.json))
        let messages = messages.map(\.withParsedArguments)
        guard usesTools else {
            return try render(
                Self.hermesMessages(messages, tools), addGenerationPrompt: addGenerationPrompt,
                extra: extra)
        }
        return try render(
            messages, addGenerationPrompt: addGenerationPrompt, tools: list, extra: extra)
    }

    /// Whether the template shows tools to the model: whether one that is offered comes out.
    func showsTools() -> Bool {
        guard source.contains("tools") else { return false }
        let name = "probe_of_the_template"
        let tool: JSON = [
            "type": "function",
            "function": [
                "name": .string(name), "description": "",
                "parameters": ["type": "object", "properties": [:]],
            ],
        ]
        let text = try? render(
            [ChatMessage(role: "user", content: "Hi")], addGenerationPrompt: true, tools: [tool])
        return text?.contains(name) ?? false
    }

    // The wording is that of Hermes 2 Pro and Qwen 2.5, which small models have met in training.
    private static func hermesMessages(
        _ messages: [ChatMessage], _ tools: [ToolDefinition]
    ) -> [ChatMessage] {
        var messages = messages.map(\.inHermesWords)
        guard !tools.isEmpty else { return messages }
        let list = tools.map { $0.json.text() }.joined(separator: "\n")
        let text = """
            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>
            \(list)
            </tools>

            For each function call, return a json object with function name and arguments within \
            <tool_call></tool_call> XML tags:
            <tool_call>
            {"name": <function-name>, "arguments": <args-json-object>}
            </tool_call>
            """
        if messages.first?.role == "system", messages[0].extra["content"] == nil {
            messages[0].content += "\n\n" + text
        } else {
            messages.insert(ChatMessage(role: "system", content: text), at: 0)
        }
        return messages
    }
}

extension ChatMessage {
    /// The message with its calls' arguments as objects, which templates expect, where they are strings.
    fileprivate var withParsedArguments: ChatMessage {
        guard let calls = extra["tool_calls"]?.array else { return self }
        var message = self
        message.extra["tool_calls"] = .array(
            calls.map { call in
                guard var function = call["function"], let text = function["arguments"]?.string,
                    let arguments = try? JSON(parsing: text, source: "arguments"),
                    arguments.object != nil
                else { return call }
                function["arguments"] = arguments
                var call = call
                call["function"] = function
                return call
            })
        return message
    }

    /// The message without fields of its own for tools.
    fileprivate var inHermesWords: ChatMessage {
        if role == "tool" {
            return ChatMessage(
                role: "user", content: "<tool_response>\n\(content)\n</tool_response>")
        }
        guard let calls = extra["tool_calls"]?.array else { return self }
        var message = self
        message.extra["tool_calls"] = nil
        if message.extra["content"]?.isNull == true { message.extra["content"] = nil }
        let lines = calls.map { call in
            let name = call["function"]?["name"] ?? ""
            let arguments = call["function"]?["arguments"] ?? [:]
            return """
                <tool_call>
                {"name": \(name.text()), "arguments": \(arguments.text())}
                </tool_call>
                """
        }
        message.content = ([content].filter { !$0.isEmpty } + lines).joined(separator: "\n")
        return message
    }
}
