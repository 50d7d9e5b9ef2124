import Foundation
import HTTPTypes
import LorikeetRuntime
import LorikeetServer
import Testing

struct ChatCompletionTests {
    @Test func `an answer is the engine's, in OpenAI's shape`() async throws {
        let server = try TestServer()
        var request = EngineRequest(
            prompt: Array("<user>hello<assistant>".utf8).map { Int32($0) })
        request.maximumTokens = 8
        let reference = try await server.reference(request)
        let promptTokens = request.prompt.count
        try await server.withClient { client in
            let json = try await client.chat().json
            #expect(json["object"]?.string == "chat.completion")
            #expect(json["id"]?.string?.hasPrefix("chatcmpl-") == true)
            #expect(json["model"]?.string == "tiny")
            let choice = try #require(json["choices"]?.array?.first)
            #expect(choice["index"]?.int == 0)
            #expect(choice["message"]?["role"]?.string == "assistant")
            #expect(choice["message"]?["content"]?.string == reference.text)
            #expect(choice["finish_reason"]?.string == "length")
            #expect(choice["logprobs"]?.isNull == true)
            #expect(json["usage"]?["prompt_tokens"]?.int == promptTokens)
            #expect(json["usage"]?["completion_tokens"]?.int == 8)
            #expect(json["usage"]?["total_tokens"]?.int == promptTokens + 8)
            #expect(json["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.int != nil)
            #expect(json["timings"]?["predicted_n"]?.int == 8)
            #expect(json["system_fingerprint"]?.string?.hasPrefix("lorikeet-1-") == true)
        }
    }

    @Test func `a stream's pieces come in order and add up to the whole answer`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let whole = try await client.chat().json["choices"]?.array?.first?["message"]?[
                "content"]
            let answer = try await client.chat(
                "hello", ["stream": true, "stream_options": ["include_usage": true]])
            #expect(answer.headers[.contentType] == "text/event-stream; charset=utf-8")
            let chunks = try answer.chunks()
            let first = chunks.first?["choices"]?.array?.first
            #expect(first?["delta"]?["role"]?.string == "assistant")
            for chunk in chunks {
                #expect(chunk["object"]?.string == "chat.completion.chunk")
                #expect(chunk["id"] == chunks[0]["id"])
                for choice in chunk["choices"]?.array ?? [] {
                    #expect(choice["index"]?.int == 0)
                    #expect(choice["finish_reason"] != nil)
                }
            }
            let text = chunks.compactMap {
                $0["choices"]?.array?.first?["delta"]?["content"]?.string
            }.joined()
            #expect(text == whole?.string)
            // Then what ended it, then the tokens in a piece without choices.
            let last = chunks[chunks.count - 2]
            #expect(last["choices"]?.array?.first?["finish_reason"]?.string == "length")
            #expect(last["timings"]?["predicted_n"]?.int == 8)
            #expect(chunks.last?["choices"]?.array?.isEmpty == true)
            #expect(chunks.last?["usage"]?["completion_tokens"]?.int == 8)
            #expect(chunks.dropLast().allSatisfy { $0["usage"]?.isNull == true })
        }
    }

    @Test func `a stream without the option tells no usage`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let chunks = try await client.chat("hello", ["stream": true]).chunks()
            #expect(chunks.allSatisfy { $0["usage"] == nil })
            #expect(
                chunks.last?["choices"]?.array?.first?["finish_reason"]?.string == "length")
        }
    }

    @Test func `several answers each have an index, a start and an end`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let more: JSON = ["n": 3, "temperature": 1, "seed": 7]
            let json = try await client.chat("hello", more).json
            let choices = try #require(json["choices"]?.array)
            #expect(choices.map { $0["index"]?.int } == [0, 1, 2])
            #expect(Set(choices.map { $0["message"]?["content"]?.string }).count == 3)
            // The prompt counts once.
            #expect(json["usage"]?["prompt_tokens"]?.int == "<user>hello<assistant>".utf8.count)
            #expect(json["usage"]?["completion_tokens"]?.int == 24)

            var streamed = more
            streamed["stream"] = true
            let pieces = try await client.chat("hello", streamed).chunks().flatMap {
                $0["choices"]?.array ?? []
            }
            for index in 0..<3 {
                let own = pieces.filter { $0["index"]?.int == index }
                #expect(own.first?["delta"]?["role"]?.string == "assistant")
                #expect(own.last?["finish_reason"]?.string == "length")
                #expect(own.filter { $0["finish_reason"]?.isNull == false }.count == 1)
                let text = own.compactMap { $0["delta"]?["content"]?.string }.joined()
                #expect(text == choices[index]["message"]?["content"]?.string)
            }
        }
    }

    @Test func `a seed gives the same answer again, another one another`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            func text(_ seed: Int) async throws -> String? {
                try await client.chat("hello", ["temperature": 1, "seed": .int(seed)])
                    .json["choices"]?.array?.first?["message"]?["content"]?.string
            }
            let first = try await text(1)
            #expect(try await text(1) == first)
            #expect(try await text(2) != first)
            #expect(try await text(-1) != nil)
        }
    }

    @Test func `a stop text ends the answer before it, also across tokens`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let whole = try #require(
                try await client.chat("hello", ["max_tokens": 24])
                    .json["choices"]?.array?.first?["message"]?["content"]?.string)
            let characters = Array(whole)
            try #require(characters.count > 6)
            // Two characters are two tokens or more: each token is a byte.
            let stop = String(characters[4...5])
            let cut = String(whole[..<(try #require(whole.range(of: stop)).lowerBound)])
            for stream in [false, true] {
                let answer = try await client.chat(
                    "hello",
                    ["max_tokens": 24, "stop": .array([.string(stop)]), "stream": .bool(stream)])
                let choices =
                    stream
                    ? try answer.chunks().flatMap { $0["choices"]?.array ?? [] }
                    : try answer.json["choices"]?.array ?? []
                let text = choices.compactMap {
                    ($0["delta"] ?? $0["message"])?["content"]?.string
                }.joined()
                #expect(text == cut)
                #expect(choices.last?["finish_reason"]?.string == "stop")
            }
        }
    }

    @Test func `log probabilities name every token, its bytes and the likeliest`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let more: JSON = ["logprobs": true, "top_logprobs": 3]
            let choice = try await client.chat("hello", more).json["choices"]?.array?.first
            let content = try #require(choice?["logprobs"]?["content"]?.array)
            #expect(content.count == 8)
            for entry in content {
                // A token of the tiny model is a byte.
                #expect(entry["bytes"]?.array?.count == 1)
                #expect((entry["logprob"]?.double ?? 1) <= 0)
                let top = try #require(entry["top_logprobs"]?.array)
                #expect(top.count == 3)
                // Greedy: the likeliest is the chosen one.
                #expect(top[0]["bytes"] == entry["bytes"])
                #expect(top[0]["logprob"] == entry["logprob"])
            }
            var streamed = more
            streamed["stream"] = true
            let pieces = try await client.chat("hello", streamed).chunks().flatMap {
                $0["choices"]?.array?.first?["logprobs"]?["content"]?.array ?? []
            }
            #expect(pieces == content)
            let none = try await client.chat("hello", ["logprobs": true]).json
            let entries = none["choices"]?.array?.first?["logprobs"]?["content"]?.array
            #expect(entries?.first?["top_logprobs"]?.array?.isEmpty == true)
        }
    }

    @Test func `parameters reach the sampler`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            func text(_ more: JSON) async throws -> String {
                let json = try await client.chat("hello", more).json
                return try #require(
                    json["choices"]?.array?.first?["message"]?["content"]?.string)
            }
            let greedy = try await text([:])
            // One token to choose from is the likeliest.
            #expect(try await text(["temperature": 2, "top_k": 1]) == greedy)
            #expect(try await text(["temperature": 2, "top_p": 1e-9]) == greedy)
            #expect(try await text(["temperature": 2, "min_p": 1]) == greedy)
            #expect(try await text(["temperature": 1e-9]) == greedy)
            let long: JSON = ["max_tokens": 64]
            func with(_ key: String, _ value: JSON) -> JSON {
                var more = long
                more[key] = value
                return more
            }
            let repeated = try await text(long)
            #expect(try await text(with("presence_penalty", 2)) != repeated)
            #expect(try await text(with("frequency_penalty", 2)) != repeated)
            #expect(try await text(with("repetition_penalty", 50)) != repeated)
        }
    }

    @Test func `the newer name of the longest answer counts before the older`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let json = try await client.chat("hello", ["max_completion_tokens": 3]).json
            #expect(json["usage"]?["completion_tokens"]?.int == 3)
        }
    }

    @Test func `an end token ends the answer, unless it is to be ignored`() async throws {
        // Half of all bytes end an answer: one of them comes within 64 random tokens.
        let ends: JSON = ["eos_token_id": .array((0..<128).map { .int($0) })]
        let server = try TestServer(generationConfiguration: ends)
        try await server.withClient { client in
            let more: JSON = ["max_tokens": 64, "temperature": 2, "seed": 1]
            let json = try await client.chat("hello", more).json
            #expect(json["choices"]?.array?.first?["finish_reason"]?.string == "stop")
            #expect((json["usage"]?["completion_tokens"]?.int ?? 64) < 64)
            var ignoring = more
            ignoring["ignore_eos"] = true
            let on = try await client.chat("hello", ignoring).json
            #expect(on["choices"]?.array?.first?["finish_reason"]?.string == "length")
            #expect(on["usage"]?["completion_tokens"]?.int == 64)
        }
    }

    @Test func `the checkpoint's generation_config.json gives the defaults`() async throws {
        // One token to choose from: the likeliest, whatever the temperature.
        let server = try TestServer(generationConfiguration: ["top_k": 1, "temperature": 2])
        try await server.withClient { client in
            let body: JSON = [
                "messages": [["role": "user", "content": "hello"]], "max_tokens": 8,
            ]
            let usual = try await client.post("/v1/chat/completions", body).json
            let greedy = try await client.chat().json
            #expect(
                usual["choices"]?.array?.first?["message"]
                    == greedy["choices"]?.array?.first?["message"])
        }
    }

    @Test func `contents in parts, null fields and unknown ones are accepted`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let plain = try await client.chat("a\nb").json["choices"]
            let body: JSON = [
                "messages": [
                    [
                        "role": "user",
                        "content": [
                            ["type": "text", "text": "a"], ["type": "text", "text": "b"],
                        ],
                    ]
                ],
                "max_tokens": 8, "temperature": 0, "stop": nil, "logit_bias": [:], "n": nil,
                "tools": [], "tool_choice": "auto", "response_format": ["type": "text"],
                "user": "u", "metadata": ["a": "b"], "store": false, "reasoning_effort": "low",
                "parallel_tool_calls": true, "a_field_of_next_year": [1, 2, 3],
            ]
            let answer = try await client.post("/v1/chat/completions", body)
            #expect(answer.status == 200, "\(answer.text)")
            #expect(try answer.json["choices"] == plain)
        }
    }

    @Test func `the developer speaks as the system, and tools that may not be called are no tools`()
        async throws
    {
        let server = try TestServer()
        try await server.withClient { client in
            func prompt(_ role: String) async throws -> JSON? {
                try await client.post(
                    "/apply-template",
                    ["messages": [["role": .string(role), "content": "x"]]]
                ).json["prompt"]
            }
            #expect(try await prompt("developer") == "<system>x<assistant>")
            let tool: JSON = ["type": "function", "function": ["name": "f"]]
            let answer = try await client.chat(
                "hello", ["tools": .array([tool]), "tool_choice": "none"])
            #expect(answer.status == 200)
        }
    }
}
