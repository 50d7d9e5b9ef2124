import LorikeetRuntime
import TestSupport
import Testing

@Suite struct ToolCallParserTests {
    private typealias Piece = ToolCallParser.Piece

    /// The pieces of `text` that comes `size` characters at a time, neighbours of a kind joined.
    private func pieces(_ format: ToolCallFormat, _ text: String, by size: Int) -> [Piece] {
        var parser = ToolCallParser(format)
        let scalars = Array(text.unicodeScalars)
        var pieces: [Piece] = []
        for start in stride(from: 0, to: scalars.count, by: size) {
            let part = scalars[start..<min(start + size, scalars.count)]
            pieces += parser.append(String(String.UnicodeScalarView(part)))
        }
        pieces += parser.finish()
        return pieces.reduce(into: []) { joined, piece in
            switch (joined.last, piece) {
            case (.content(let a)?, .content(let b)): joined[joined.count - 1] = .content(a + b)
            case (.arguments(let i, let a)?, .arguments(let j, let b)) where i == j:
                joined[joined.count - 1] = .arguments(index: i, a + b)
            default: joined.append(piece)
            }
        }
    }

    private func expect(
        _ format: ToolCallFormat, _ text: String, _ expected: [Piece],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for size in [1, 2, 3, 7, 10_000] {
            #expect(
                pieces(format, text, by: size) == expected, "in pieces of \(size)",
                sourceLocation: sourceLocation)
        }
    }

    @Test func `Hermes' calls are found within text, several in a row`() {
        expect(
            .hermes,
            """
            Let me see: é <b>.
            <tool_call>
            {"name": "weather", "arguments": {"city": "Zürich", "days": [1, {"a": "}\\""}]}}
            </tool_call>
            <tool_call>
            {"arguments": {"x": 1}, "name": "f"}
            </tool_call>
            """,
            [
                .content("Let me see: é <b>."), .call(index: 0, name: "weather"),
                .arguments(index: 0, #"{"city": "Zürich", "days": [1, {"a": "}\""}]}"#),
                .call(index: 1, name: "f"), .arguments(index: 1, #"{"x": 1}"#),
            ])
    }

    @Test func `text without a call stays as it is`() {
        for format in ToolCallFormat.allCases {
            for text in [
                "Hello <tool", "a < b [TOOL and <|py", "{\"answer\": 5}", "  [1, 2]\n", "",
                "<tool_cal l>{}", "{\"name\" 5}", "blank \n ",
            ] {
                expect(format, text, text.isEmpty ? [] : [.content(text)])
            }
        }
    }

    @Test func `Llama 3's calls need no marker`() {
        let call: [Piece] = [
            .call(index: 0, name: "get"), .arguments(index: 0, #"{"a": "b"}"#),
        ]
        expect(.llama3, #"{"name": "get", "parameters": {"a": "b"}}"#, call)
        expect(
            .llama3,
            #"<|python_tag|>{"type": "function", "name": "get", "parameters": {"a": "b"}}"#, call)
        expect(
            .llama3, #"{"name": "get", "parameters": {"a": "b"}}; {"name": "g", "parameters": {}}"#,
            call + [.call(index: 1, name: "g"), .arguments(index: 1, "{}")])
    }

    @Test func `Mistral's calls are a list, after a marker or not`() {
        let calls: [Piece] = [
            .call(index: 0, name: "get"), .arguments(index: 0, #"{"a": 1}"#),
            .call(index: 1, name: "put"), .arguments(index: 1, "{}"),
        ]
        let list = #"[{"name": "get", "arguments": {"a": 1}, "id": "123456789"}, {"name": "put"}]"#
        expect(.mistral, "[TOOL_CALLS] " + list, calls)
        expect(.mistral, " " + list, calls)
        expect(.mistral, "Wait.[TOOL_CALLS]" + list, [.content("Wait.")] + calls)
    }

    @Test func `arguments as a string of JSON are read`() {
        expect(
            .hermes, #"<tool_call>{"name": "f", "arguments": "{\"a\": \"\\u00e9\"}"}</tool_call>"#,
            [.call(index: 0, name: "f"), .arguments(index: 0, #"{"a": "\u00e9"}"#)])
    }

    @Test func `a call that is cut off is one from its name on`() {
        expect(
            .hermes, #"<tool_call>{"name": "f", "arguments": {"a": "#,
            [.call(index: 0, name: "f"), .arguments(index: 0, #"{"a": "#)])
        expect(.hermes, #"<tool_call>{"nam"#, [.content(#"<tool_call>{"nam"#)])
    }

    @Test func `what only looks like a call is text`() {
        let text = #"<tool_call>{"nome": "f"}</tool_call> after"#
        expect(.hermes, text, [.content(text)])
    }

    @Test(arguments: ToolCallFormat.allCases)
    func `forced calls are calls of the tools with arguments of their schemas`(
        format: ToolCallFormat
    ) throws {
        let parameters: JSON = [
            "type": "object",
            "properties": [
                "city": ["type": "string", "maxLength": 9], "unit": ["enum": ["C", "F"]],
            ],
            "required": ["city"], "additionalProperties": false,
        ]
        let tools = try ToolDefinition.list(
            [
                ["type": "function", "function": ["name": "weather", "parameters": parameters]],
                ["type": "function", "function": ["name": "now"]],
            ], source: "tools")
        let grammar = try ConstraintGrammar.toolCalls(tools, format: format, allowsSeveral: true)
        for words in [ConstraintWalks.bytes, ConstraintWalks.smolLM2].compactMap({ $0 }) {
            let automaton = ConstraintAutomaton(grammar, words.vocabulary)
            for seed in UInt64(0)..<20 {
                let text = try #require(
                    ConstraintWalks.random(automaton.makeConstraint(), words, seed: seed))
                let pieces = pieces(format, text, by: 5)
                var name = ""
                for piece in pieces {
                    switch piece {
                    case .content(let text): Issue.record("content \(text)")
                    case .call(_, let called): name = called
                    case .arguments(_, let arguments):
                        guard let value = try? JSON(parsing: arguments, source: text) else {
                            // Free arguments may repeat a name.
                            #expect(name == "now")
                            continue
                        }
                        let schema = name == "weather" ? parameters : ["type": "object"]
                        #expect(SchemaValidator(root: schema).accepts(value, schema), "\(text)")
                    }
                }
                #expect(["weather", "now"].contains(name))
            }
        }
    }
}
