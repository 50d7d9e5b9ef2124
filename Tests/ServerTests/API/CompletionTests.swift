import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import LorikeetServer
import Testing

struct CompletionTests {
    private func complete(
        _ client: TestClient, _ prompt: JSON, _ more: JSON = [:]
    ) async throws -> TestAnswer {
        var body: JSON = ["prompt": prompt, "temperature": 0, "max_tokens": 5]
        for (key, value) in more.object ?? [:] { body[key] = value }
        return try await client.post("/v1/completions", body)
    }

    private func texts(_ answer: TestAnswer) throws -> [String?] {
        try (answer.json["choices"]?.array ?? []).map { $0["text"]?.string }
    }

    @Test func `a text, tokens, and lists of either are continued alike`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let one = try await complete(client, "ab")
            #expect(try one.json["object"]?.string == "text_completion")
            #expect(try one.json["usage"]?["prompt_tokens"]?.int == 2)
            let text = try texts(one)
            #expect(text.count == 1)
            let tokens: JSON = [97, 98]
            #expect(try texts(await complete(client, tokens)) == text)
            let other = try texts(await complete(client, "cd"))
            #expect(other != text)
            #expect(try texts(await complete(client, ["ab", "cd"])) == text + other)
            let lists: JSON = .array([tokens, [99, 100]])
            #expect(try texts(await complete(client, lists)) == text + other)
            let several = try await complete(client, ["ab", "cd"], ["n": 2])
            #expect(try texts(several) == text + text + other + other)
            #expect(try several.json["usage"]?["prompt_tokens"]?.int == 4)
            #expect(try several.json["usage"]?["completion_tokens"]?.int == 20)
        }
    }

    @Test func `a stream's pieces are all texts, and add up to the whole`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let whole = try texts(await complete(client, "ab"))[0]
            let pieces = try await complete(client, "ab", ["stream": true]).chunks()
            for piece in pieces {
                #expect(piece["choices"]?.array?.count == 1)
                #expect(piece["choices"]?.array?.first?["text"]?.string != nil)
            }
            let text = pieces.compactMap { $0["choices"]?.array?.first?["text"]?.string }.joined()
            #expect(text == whole)
        }
    }

    @Test func `16 tokens are OpenAI's usual length`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await client.post("/v1/completions", ["prompt": "ab"])
            #expect(try answer.json["usage"]?["completion_tokens"]?.int == 16)
        }
    }

    @Test func `an echo begins with the prompt, and may be all`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let plain = try texts(await complete(client, "ab"))[0] ?? ""
            let echoed = try await complete(client, "ab", ["echo": true])
            #expect(try texts(echoed) == ["ab" + plain])
            let streamed = try await complete(client, "ab", ["echo": true, "stream": true])
            let pieces = try streamed.chunks().flatMap { $0["choices"]?.array ?? [] }
            #expect(pieces.compactMap { $0["text"]?.string }.joined() == "ab" + plain)
            #expect(pieces.last?["finish_reason"]?.string == "length")
            let alone = try await complete(client, "ab", ["echo": true, "max_tokens": 0])
            #expect(try texts(alone) == ["ab"])
        }
    }

    @Test func `log probabilities have the older form`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await complete(client, "ab", ["logprobs": 2])
            let logs = try #require(
                try answer.json["choices"]?.array?.first?["logprobs"])
            for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                #expect(logs[key]?.array?.count == 5, "\(key)")
            }
            #expect(logs["text_offset"]?.array?.first?.int == 0)
            let streamed = try await complete(client, "ab", ["logprobs": 2, "stream": true])
            for key in ["tokens", "token_logprobs", "text_offset"] {
                let pieces = try streamed.chunks().flatMap {
                    $0["choices"]?.array?.first?["logprobs"]?[key]?.array ?? []
                }
                #expect(pieces.count == 5, "\(key)")
                if key != "text_offset" { #expect(pieces == logs[key]?.array, "\(key)") }
            }
        }
    }

    @Test(arguments: ["tiny", "one"], [0, 1])
    func `an echoed prompt has the likelihoods that the model gives it`(
        name: String, count: Int
    ) async throws {
        let server = try TestServer(adapters: ["one"])
        // Two pieces of a prompt, and many pages of keys and values.
        let text = String(repeating: "the tide is out; ", count: 25)
        let tokens = text.utf8.map { Int32($0) }
        let model = server.engine.model
        let adapter =
            name == "tiny"
            ? nil
            : try Adapters.load(
                server.folder + "/adapters/one", for: model.model.configuration)
        let pass = InferencePass(model: model.model, compute: model.compute)
        let expected = try pass.logProbabilities(
            of: tokens, cache: pass.makeCache(), adapter: pass.pack(adapter))

        try await server.withClient { client in
            func ask(_ more: JSON) async throws -> TestAnswer {
                var body: JSON = ["model": .string(name), "max_tokens": .int(count)]
                for (key, value) in more.object ?? [:] { body[key] = value }
                return try await complete(client, .string(text), body)
            }
            // So that the prompt is in the cache of prefixes.
            let plain = try await ask(["max_tokens": 1, "logprobs": 1])
            for _ in 0..<2 {
                let answer = try await ask(["echo": true, "logprobs": 2])
                #expect(try answer.json["usage"]?["prompt_tokens"]?.int == tokens.count)
                let choice = try #require(try answer.json["choices"]?.array?.first)
                #expect(choice["text"]?.string?.hasPrefix(text) == true)
                let lists = try ["tokens", "token_logprobs", "top_logprobs", "text_offset"].map {
                    try #require(choice["logprobs"]?[$0]?.array)
                }
                #expect(lists.allSatisfy { $0.count == tokens.count + count })
                let got = lists[0].prefix(tokens.count).compactMap(\.string).joined()
                #expect(got == text)
                #expect(lists[1][0].isNull && lists[2][0].isNull)
                #expect(lists[3].map(\.int) == Array(0..<tokens.count + count))
                for index in 1..<tokens.count {
                    let log = try #require(lists[1][index].double)
                    // Both are sums of 256 exponentials in fp32, in another order: a few units in the last
                    // place of a number about 5.
                    #expect(abs(log - Double(expected[index - 1])) < 1e-5)
                    let top = try #require(lists[2][index].object)
                    #expect(top.count >= 2 && top.contains { $0.value.double == log })
                }
                if count == 1 {
                    // The answer's token is what it is without an echo.
                    let alone = try plain.json["choices"]?.array?.first?["logprobs"]
                    #expect(lists[0].last == alone?["tokens"]?.array?.first)
                    let (echoed, single) = (
                        try #require(lists[1].last?.double),
                        try #require(alone?["token_logprobs"]?.array?.first?.double)
                    )
                    #expect(abs(echoed - single) < 1e-5)
                }
                let streamed = try await ask(["echo": true, "logprobs": 2, "stream": true])
                for (key, list) in zip(["tokens", "token_logprobs", "text_offset"], [0, 1, 3]) {
                    let pieces = try streamed.chunks().flatMap {
                        $0["choices"]?.array?.first?["logprobs"]?[key]?.array ?? []
                    }
                    #expect(pieces == lists[list], "\(key)")
                }
            }
        }
    }

    @Test func `a prompt of one token has no likelihood`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let answer = try await complete(
                client, "a", ["echo": true, "logprobs": 0, "max_tokens": 0])
            let logs = try answer.json["choices"]?.array?.first?["logprobs"]
            #expect(logs?["tokens"] == ["a"] && logs?["token_logprobs"] == [nil])
        }
    }
}
