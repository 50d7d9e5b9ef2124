import LorikeetRuntime
import LorikeetServer
import Testing

struct TokenTests {
    @Test func `llama.cpp's shape of tokenize`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let json = try await client.post("/tokenize", ["content": "ab"]).json
            #expect(json == ["tokens": [97, 98]])
            let pieces = try await client.post(
                "/tokenize", ["content": "aé", "with_pieces": true]
            ).json["tokens"]
            // Half of a character is told as bytes.
            #expect(
                pieces == [
                    ["id": 97, "piece": "a"], ["id": 195, "piece": [195]],
                    ["id": 169, "piece": [169]],
                ])
        }
    }

    @Test func `vLLM's shapes of tokenize`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let json = try await client.post("/tokenize", ["prompt": "ab"]).json
            #expect(json["tokens"] == [97, 98])
            #expect(json["count"]?.int == 2 && json["max_model_len"]?.int == 1024)
            let chat = try await client.post(
                "/tokenize", ["messages": [["role": "u", "content": "x"]]]
            ).json["tokens"]
            #expect(chat == .array("<u>x<assistant>".utf8.map { .int(Int($0)) }))
            let bare = try await client.post(
                "/tokenize",
                [
                    "messages": [["role": "u", "content": "x"]], "add_generation_prompt": false,
                ]
            ).json["count"]
            #expect(bare?.int == "<u>x".utf8.count)
            try await client.post("/tokenize", [:]).expectError(400, parameter: "content")
        }
    }

    @Test func `tokens become text again, those of the vocabulary`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let json = try await client.post("/detokenize", ["tokens": [97, 98]]).json
            #expect(json["content"] == "ab" && json["prompt"] == "ab")
            for tokens: JSON in [nil, "x", [1000], [-1], ["x"], [1.5]] {
                let answer = try await client.post("/detokenize", ["tokens": tokens])
                try answer.expectError(400, parameter: "tokens")
            }
        }
    }

    @Test func `a conversation's text is told`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let json = try await client.post(
                "/apply-template", ["messages": [["role": "user", "content": "x"]]]
            ).json
            #expect(json == ["prompt": "<user>x<assistant>"])
            let rude = try await client.post(
                "/apply-template", ["messages": [["role": "user", "content": "rude"]]])
            try rude.expectError(400, parameter: "messages")
        }
    }
}
