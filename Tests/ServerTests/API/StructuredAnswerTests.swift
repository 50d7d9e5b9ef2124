import LorikeetRuntime
import LorikeetServer
import Testing

struct StructuredAnswerTests {
    private static let schema: JSON = [
        "type": "object", "properties": ["large": ["type": "boolean"]], "required": ["large"],
        "additionalProperties": false,
    ]

    private func choice(_ answer: TestAnswer) throws -> JSON {
        try #require(try answer.json["choices"]?.array?.first, "\(answer.text)")
    }

    @Test func `a biased token is chosen, or never`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let always = try choice(await client.chat("hello", ["logit_bias": ["97": 100]]))
            #expect(always["message"]?["content"]?.string == "aaaaaaaa")
        }
    }

    @Test func `an answer is JSON of the schema`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let format: JSON = [
                "type": "json_schema", "json_schema": ["name": "x", "schema": Self.schema],
            ]
            let answer = try await client.chat(
                "hello", ["response_format": format, "temperature": 2, "max_tokens": 400])
            let text = try #require(try choice(answer)["message"]?["content"]?.string)
            let json = try JSON(parsing: text, source: "answer")
            #expect(json.object?.keys == ["large"] && json["large"]?.bool != nil)
        }
    }

    @Test func `a forced call has a name once, and arguments that add up`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let tool: JSON = [
                "type": "function", "function": ["name": "f", "parameters": Self.schema],
            ]
            var more: JSON = [
                "tools": .array([tool]), "tool_choice": "required", "parallel_tool_calls": false,
                "max_tokens": 400,
            ]
            let whole = try choice(await client.chat("hello", more))
            #expect(whole["finish_reason"]?.string == "tool_calls")
            let call = try #require(whole["message"]?["tool_calls"]?.array?.first)
            #expect(call["type"]?.string == "function" && call["id"]?.string != nil)
            #expect(call["function"]?["name"]?.string == "f")
            let arguments = try #require(call["function"]?["arguments"]?.string)
            #expect(try JSON(parsing: arguments, source: "arguments")["large"]?.bool != nil)

            more["stream"] = true
            let chunks = try await client.chat("hello", more).chunks().compactMap {
                $0["choices"]?.array?.first
            }
            let deltas = chunks.flatMap { $0["delta"]?["tool_calls"]?.array ?? [] }
            #expect(deltas.allSatisfy { $0["index"]?.int == 0 })
            #expect(deltas.compactMap { $0["function"]?["name"]?.string } == ["f"])
            let streamed = deltas.compactMap { $0["function"]?["arguments"]?.string }.joined()
            #expect(streamed == arguments)
            #expect(chunks.last?["finish_reason"]?.string == "tool_calls")
        }
    }
}
