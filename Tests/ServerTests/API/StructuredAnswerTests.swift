import LorikeetRuntime
import Testing

/// Answers that must be JSON, of a schema, or a call of a tool; the model's tokens are random bytes.
@Suite struct StructuredAnswerTests {
    private let schema: JSON = [
        "type": "object",
        "properties": [
            "name": ["type": "string", "maxLength": 6], "age": ["enum": [1, 22]],
        ],
        "required": ["name", "age"], "additionalProperties": false,
    ]
    private let tools: JSON = [
        [
            "type": "function",
            "function": [
                "name": "look_up",
                "parameters": [
                    "type": "object", "properties": ["page": ["enum": [7, 8]]],
                    "required": ["page"], "additionalProperties": false,
                ],
            ],
        ]
    ]

    private func message(_ answer: TestAnswer) throws -> JSON {
        try #require(try answer.json["choices"]?.array?.first?["message"])
    }

    @Test func `an answer satisfies its schema, alone and beside others`() async throws {
        let server = try TestServer()
        let format: JSON = [
            "type": "json_schema", "json_schema": ["name": "person", "schema": schema],
        ]
        try await server.withClient { client in
            for temperature in [0, 1.5] {
                let answer = try await client.chat(
                    "hello",
                    [
                        "response_format": format, "max_tokens": 200, "n": 3,
                        "temperature": .double(temperature),
                    ])
                let choices = try #require(try answer.json["choices"]?.array)
                #expect(choices.count == 3)
                for choice in choices {
                    #expect(choice["finish_reason"] == "stop")
                    let text = try #require(choice["message"]?["content"]?.string)
                    let json = try JSON(parsing: text, source: "answer")
                    #expect(json.object?.keys.sorted() == ["age", "name"])
                    #expect([1, 22].contains(json["age"]?.int))
                    #expect(json["name"]?.string?.unicodeScalars.count ?? 7 <= 6)
                }
            }
        }
    }

    @Test func `a tool that must be called is, whole and in pieces`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let fields: JSON = [
                "tools": tools, "max_tokens": 200, "parallel_tool_calls": false,
                "tool_choice": ["type": "function", "function": ["name": "look_up"]],
            ]
            let answer = try await client.chat("hello", fields)
            #expect(
                try answer.json["choices"]?.array?.first?["finish_reason"] == "tool_calls")
            let message = try message(answer)
            #expect(message["content"]?.isNull ?? false)
            let call = try #require(message["tool_calls"]?.array?.first)
            #expect(call["function"]?["name"] == "look_up")
            let arguments = try #require(call["function"]?["arguments"]?.string)
            #expect([7, 8].contains(try JSON(parsing: arguments, source: "call")["page"]?.int))

            var streamed = fields
            streamed["stream"] = true
            let deltas = try await client.chat("hello", streamed).chunks()
                .compactMap { $0["choices"]?.array?.first }
            #expect(deltas.last?["finish_reason"] == "tool_calls")
            let calls = deltas.compactMap { $0["delta"]?["tool_calls"]?.array?.first }
            #expect(calls.first?["function"]?["name"] == "look_up")
            // The name comes once, with the call's identity.
            #expect(calls.dropFirst().allSatisfy { $0["function"]?["name"] == nil })
            #expect(calls.allSatisfy { $0["index"] == 0 })
            let pieces = calls.compactMap { $0["function"]?["arguments"]?.string }.joined()
            #expect([7, 8].contains(try JSON(parsing: pieces, source: "call")["page"]?.int))
        }
    }

    @Test func `a bias makes a token certain`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await client.chat(
                "hello", ["logit_bias": ["65": 100], "max_tokens": 3])
            #expect(try message(answer)["content"] == "AAA")
        }
    }

    @Test func `tools that nobody asked for leave text what it is`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let plain = try await client.chat("hello")
            let none = try await client.chat("hello", ["tools": tools, "tool_choice": "none"])
            #expect(try message(plain)["content"] == message(none)["content"])
        }
    }
}
