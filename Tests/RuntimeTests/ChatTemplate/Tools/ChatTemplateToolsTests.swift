import Foundation
import LorikeetRuntime
import Testing

@Suite struct ChatTemplateToolsTests {
    private let tools: JSON = [
        [
            "type": "function",
            "function": [
                "name": "weather", "description": "The weather",
                "parameters": ["type": "object", "properties": ["city": ["type": "string"]]],
            ],
        ]
    ]

    private func template(_ source: String) throws -> ChatTemplate {
        try ChatTemplate(
            source: source, name: "t", beginningOfText: nil, endOfText: nil)
    }

    private func conversation() throws -> [ChatMessage] {
        let messages: [JSON] = [
            ["role": "user", "content": "Warm?"],
            [
                "role": "assistant", "content": nil,
                "tool_calls": [
                    [
                        "id": "call_1", "type": "function",
                        "function": ["name": "weather", "arguments": #"{"city": "Bern"}"#],
                    ]
                ],
            ],
            ["role": "tool", "tool_call_id": "call_1", "content": "7 degrees"],
        ]
        return try messages.map { try ChatMessage($0, source: "messages") }
    }

    @Test func `a template that knows tools gets them, and arguments as objects`() throws {
        let template = try template(
            """
            {% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}
            [{{ m.role }}]{{ m.content if m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}:{{ c.function.arguments.city }}{% endfor %}{{ m.tool_call_id }}{% endfor %}
            """)
        #expect(template.usesTools)
        #expect(template.toolCallFormat == .hermes)
        let text = try template.render(
            conversation(), addGenerationPrompt: false,
            offering: ToolDefinition.list(tools, source: "tools"))
        #expect(text.hasPrefix(#"[{"type": "function", "function": {"name": "weather""#))
        #expect(text.contains("[user]Warm?"))
        #expect(text.contains("[assistant]<tool_call>weather:Bern"))
        #expect(text.contains("[tool]7 degreescall_1"))
    }

    @Test func `a template that knows none gets them in Hermes' words`() throws {
        let source = try String(
            contentsOfFile: Bundle.module.bundlePath + "/Resources/ChatTemplate/smollm2.jinja",
            encoding: .utf8)
        let template = try template(source)
        #expect(!template.usesTools)
        let offered = try ToolDefinition.list(tools, source: "tools")
        let text = try template.render(
            conversation(), addGenerationPrompt: true, offering: offered)
        #expect(
            text.contains(
                """
                <tools>
                {"type":"function","function":{"name":"weather","description":"The weather"
                """.trimmingCharacters(in: .newlines)))
        #expect(
            text.contains(
                """
                <|im_start|>assistant
                <tool_call>
                {"name": "weather", "arguments": {"city":"Bern"}}
                </tool_call><|im_end|>
                <|im_start|>user
                <tool_response>
                7 degrees
                </tool_response><|im_end|>
                <|im_start|>assistant

                """))
        let system = ChatMessage(role: "system", content: "Be brief.")
        let both = try template.render(
            [system] + conversation(), addGenerationPrompt: true, offering: offered)
        #expect(both.hasPrefix("<|im_start|>system\nBe brief.\n\n# Tools"))
    }

    @Test func `without tools nothing is added`() throws {
        let source = try String(
            contentsOfFile: Bundle.module.bundlePath + "/Resources/ChatTemplate/smollm2.jinja",
            encoding: .utf8)
        let template = try template(source)
        let messages = [ChatMessage(role: "user", content: "Hi")]
        #expect(
            try template.render(messages, addGenerationPrompt: true, offering: [])
                == template.render(messages, addGenerationPrompt: true))
    }

    @Test(arguments: [
        ("{{ tools }}[TOOL_CALLS]", ToolCallFormat.mistral),
        ("{{ tools }}<|python_tag|>", .llama3), ("{{ tools }}<tool_call>", .hermes),
        ("{{ tools }}", .hermes), ("[TOOL_CALLS]", .hermes),
    ])
    func `the format is the template's`(source: String, format: ToolCallFormat) throws {
        #expect(try template(source).toolCallFormat == format)
    }

    @Test(arguments: [
        ("{}", "list"), (#"[{"type": "web"}]"#, "type"), (#"[{"type": "function"}]"#, "name"),
        (#"[{"function": {"name": "a b"}}]"#, "name"),
        (#"[{"function": {"name": "a", "parameters": 5}}]"#, "schema"),
        (#"[{"function": {"name": "a"}}, {"function": {"name": "a"}}]"#, "one name"),
    ])
    func `tools that are none are refused`(json: String, clue: String) throws {
        let json = try JSON(parsing: json, source: "")
        let error = #expect(throws: LorikeetError.self) {
            try ToolDefinition.list(json, source: "tools")
        }
        #expect(error?.subject.hasPrefix("tools") == true)
        #expect(error?.problem.contains(clue) == true, "\(error?.problem ?? "")")
    }
}
