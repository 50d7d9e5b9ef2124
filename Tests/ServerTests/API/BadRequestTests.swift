import LorikeetRuntime
import LorikeetServer
import Testing

struct BadRequestTests {
    /// A field of a chat with a value that is refused, and the parameter that the error names.
    struct Case: Sendable, CustomTestStringConvertible {
        var field: String
        var value: JSON
        var parameter: String
        var code = "invalid_value"

        var testDescription: String { "\(field): \(value.text())" }
    }

    static let cases: [Case] = [
        Case(field: "temperature", value: "hot", parameter: "temperature", code: "invalid_type"),
        Case(field: "temperature", value: -1, parameter: "temperature"),
        Case(field: "temperature", value: 2.5, parameter: "temperature"),
        Case(field: "top_p", value: 0, parameter: "top_p"),
        Case(field: "top_p", value: 1.5, parameter: "top_p"),
        Case(field: "top_k", value: 1.5, parameter: "top_k", code: "invalid_type"),
        Case(field: "top_k", value: -2, parameter: "top_k"),
        Case(field: "min_p", value: 2, parameter: "min_p"),
        Case(field: "repetition_penalty", value: 0, parameter: "repetition_penalty"),
        Case(field: "presence_penalty", value: 3, parameter: "presence_penalty"),
        Case(field: "frequency_penalty", value: -3, parameter: "frequency_penalty"),
        Case(field: "max_tokens", value: 0, parameter: "max_tokens"),
        Case(field: "max_tokens", value: "8", parameter: "max_tokens", code: "invalid_type"),
        Case(field: "max_completion_tokens", value: -1, parameter: "max_completion_tokens"),
        Case(field: "n", value: 0, parameter: "n"),
        Case(field: "n", value: 1000, parameter: "n"),
        Case(field: "seed", value: 0.5, parameter: "seed", code: "invalid_type"),
        Case(field: "stop", value: 5, parameter: "stop", code: "invalid_type"),
        Case(field: "stop", value: [""], parameter: "stop"),
        Case(field: "stop", value: ["a", "b", "c", "d", "e"], parameter: "stop"),
        Case(
            field: "stop", value: .string(String(repeating: "x", count: 5000)), parameter: "stop"),
        Case(field: "logprobs", value: 3, parameter: "logprobs", code: "invalid_type"),
        Case(field: "top_logprobs", value: 3, parameter: "top_logprobs"),
        Case(field: "top_logprobs", value: 21, parameter: "top_logprobs"),
        Case(field: "stream", value: "yes", parameter: "stream", code: "invalid_type"),
        Case(
            field: "stream_options", value: ["include_usage": true], parameter: "stream_options"),
        Case(field: "logit_bias", value: ["x": 1], parameter: "logit_bias"),
        Case(field: "logit_bias", value: ["1": 101], parameter: "logit_bias"),
        Case(
            field: "response_format", value: ["type": "yaml"], parameter: "response_format.type"),
        Case(
            field: "response_format", value: ["type": "json_schema"],
            parameter: "response_format.json_schema", code: "missing_required_parameter"),
        Case(
            field: "response_format",
            value: ["type": "json_schema", "json_schema": ["schema": ["not": [:]]]],
            parameter: "response_format", code: "unsupported"),
        Case(field: "tools", value: [["type": "f"]], parameter: "tools", code: "unsupported"),
        Case(field: "tools", value: [["function": ["name": "a b"]]], parameter: "tools"),
        Case(field: "tool_choice", value: "sometimes", parameter: "tool_choice"),
        Case(field: "tool_choice", value: "required", parameter: "tool_choice"),
        Case(field: "functions", value: [[:]], parameter: "functions", code: "unsupported"),
        Case(
            field: "modalities", value: ["audio"], parameter: "modalities", code: "unsupported"),
        Case(field: "metadata", value: "x", parameter: "metadata", code: "invalid_type"),
        Case(field: "user", value: 5, parameter: "user", code: "invalid_type"),
        Case(field: "model", value: 5, parameter: "model", code: "invalid_type"),
        Case(field: "adapters", value: [["scale": 1]], parameter: "adapters[0].name"),
        Case(
            field: "adapters", value: [["name": "a", "scale": "x"]],
            parameter: "adapters[0].scale"),
        Case(
            field: "messages", value: nil, parameter: "messages", code: "missing_required_parameter"
        ),
        Case(field: "messages", value: "hello", parameter: "messages", code: "invalid_type"),
        Case(field: "messages", value: [], parameter: "messages"),
        Case(field: "messages", value: [5], parameter: "messages[0]", code: "invalid_type"),
        Case(field: "messages", value: [["content": "x"]], parameter: "messages[0].role"),
        Case(field: "messages", value: [["role": "user"]], parameter: "messages[0]"),
        Case(
            field: "messages", value: [["role": "user", "content": 5]],
            parameter: "messages[0].content", code: "invalid_type"),
        Case(
            field: "messages",
            value: [["role": "user", "content": [["type": "image_url", "image_url": [:]]]]],
            parameter: "messages[0].content[0]", code: "unsupported"),
        Case(
            field: "messages", value: [["role": "user", "content": "rude"]],
            parameter: "messages"),
        Case(
            field: "messages",
            value: [["role": "user", "content": .string(String(repeating: "x", count: 2000))]],
            parameter: "messages", code: "context_length_exceeded"),
    ]

    @Test func `a wrong field is named, and the server goes on`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            for one in Self.cases {
                let answer = try await client.chat("hello", [one.field: one.value])
                try answer.expectError(400, parameter: one.parameter, code: one.code)
            }
            #expect(try await client.chat().status == 200)
        }
    }

    @Test func `what a template says against a conversation reaches the client`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await client.chat("rude")
            #expect(answer.text.contains("be polite"))
        }
    }

    @Test(arguments: [
        "", "{", "[]", "null", "{\"messages\": [}", "{\"a\": 1, \"a\": 2}",
        "{\"temperature\": NaN}",
        "{\"temperature\": 1e999}", "{} {}", String(repeating: "[", count: 100_000),
    ])
    func `a body that is no JSON object is refused`(body: String) async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await client.post("/v1/chat/completions", body)
            try answer.expectError(400)
        }
    }

    @Test func `completions refuse what they cannot do`() async throws {
        let server = try TestServer()
        let cases: [(JSON, String)] = [
            ([:], "prompt"), (["prompt": 5], "prompt"), (["prompt": []], "prompt"),
            (["prompt": ""], "prompt"), (["prompt": [1, "x"]], "prompt"),
            (["prompt": ["x", 5]], "prompt[1]"), (["prompt": [97, 300]], "prompt"),
            (["prompt": [-1]], "prompt"), (["prompt": [1e12]], "prompt"),
            (["prompt": "x", "suffix": "y"], "suffix"),
            (["prompt": "x", "best_of": 3], "best_of"),
            (["prompt": "x", "logprobs": 21], "logprobs"),
            (["prompt": ["x", "y"], "n": 100], "n"),
        ]
        try await server.withClient { client in
            for (body, parameter) in cases {
                let answer = try await client.post("/v1/completions", body)
                try answer.expectError(400, parameter: parameter)
            }
        }
    }

    @Test func `bytes that are no UTF-8 are refused`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await client.post(
                "/v1/completions", bytes: Array("{\"prompt\": \"".utf8) + [0xFF, 0xFE, 0x22, 0x7D])
            try answer.expectError(400, code: "invalid_json")
        }
    }

    @Test func `a long body is refused`() async throws {
        let server = try TestServer { $0.bodyLimit = 1000 }
        try await server.withClient { client in
            let answer = try await client.chat(String(repeating: "x", count: 2000))
            try answer.expectError(413, code: "request_too_large")
            #expect(try await client.chat().status == 200)
        }
    }

    @Test func `a prompt longer than is allowed is refused`() async throws {
        let server = try TestServer { $0.promptLimit = 25 }
        try await server.withClient { client in
            #expect(try await client.chat().status == 200)
            let answer = try await client.chat("hello, hello")
            try answer.expectError(
                400, parameter: "messages", code: "context_length_exceeded")
        }
    }

    @Test func `an unknown route is told as such`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            try await client.get("/v1/nothing").expectError(404, code: "not_found")
            try await client.get("/v1/chat/completions").expectError(404, code: "not_found")
        }
    }
}
