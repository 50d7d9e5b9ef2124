import Foundation
import HTTPTypes
import HummingbirdTesting
import LorikeetAdapters
import LorikeetRuntime
import LorikeetServer
import TestSupport
import Testing

/// What a server of an encoder does beside judging: vectors, and the routes that decoders have too.
@Suite(.timeLimit(.minutes(5))) struct EncoderServerTests {
    private func vectors(_ answer: TestAnswer) throws -> [[Float]] {
        #expect(answer.status == 200, "\(answer.text)")
        return try #require(try answer.json["data"]?.array).map {
            try #require($0["embedding"]?.array).compactMap { $0.double.map(Float.init) }
        }
    }

    private func expectEqual(
        _ got: [[Float]], _ expected: [[Float]], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(got.map(\.count) == expected.map(\.count), sourceLocation: sourceLocation)
        // The same products in fp32, of one text and of several: sums of some hundred terms in another order.
        let worst = zip(got.joined(), expected.joined()).map { abs($0 - $1) }.max() ?? 1
        #expect(worst <= 1e-5, sourceLocation: sourceLocation)
    }

    @Test(arguments: ["bert_cls", "deberta_v3_cls"])
    func `vectors are the library's, with an adapter and without`(model: String) async throws {
        let server = try TestEncoderServer(
            model, adapters: ["moods": ["sad", "glad"], "plain": []])
        let texts = ["ab", "a longer text", ""]
        let input: JSON = .array(texts.map { .string($0) })
        try await server.withClient { client in
            let base = try server.encoder.embeddings(of: texts)
            let answer = try await client.post("/v1/embeddings", ["input": input])
            expectEqual(try vectors(answer), base)
            let json = try answer.json
            #expect(json["object"] == "list" && json["model"] == "tiny")
            #expect(json["usage"] == ["prompt_tokens": 21, "total_tokens": 21])
            let data = try #require(json["data"]?.array)
            #expect(data.map { $0["index"]?.int } == [0, 1, 2])
            #expect(data.allSatisfy { $0["object"] == "embedding" })
            for name in ["moods", "plain"] {
                let adapter = try Adapters.load(
                    "\(server.folder)/adapters/\(name)", over: server.encoder)
                let expected = try server.encoder.embeddings(of: texts, adapter: adapter)
                #expect(expected != base)
                let adapted = try await client.post(
                    "/v1/embeddings", ["input": input, "model": .string(name)])
                expectEqual(try vectors(adapted), expected)
            }
            let tokens = try await client.post("/v1/embeddings", ["input": [[2, 97, 98, 3]]])
            expectEqual(try vectors(tokens), [base[0]])
            let coded = try await client.post(
                "/v1/embeddings", ["input": "ab", "encoding_format": "base64"])
            let text = try #require(
                try coded.json["data"]?.array?.first?["embedding"]?.string)
            let bytes = try #require(Data(base64Encoded: text))
            let words = bytes.withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) }
            expectEqual([words.map { Float(bitPattern: UInt32(littleEndian: $0)) }], [base[0]])
        }
    }

    @Test func `vectors are pooled, cut and scaled as the model's folder says`() async throws {
        let server = try TestEncoderServer(prepare: { folder in
            try FileManager.default.createDirectory(
                atPath: folder + "/1_Pooling", withIntermediateDirectories: true)
            for (name, text) in [
                ("1_Pooling/config.json", "{\"pooling_mode_cls_token\": true}"),
                ("sentence_bert_config.json", "{\"max_seq_length\": 10}"),
                ("modules.json", "[{\"type\": \"x.Transformer\"}, {\"type\": \"x.Pooling\"}]"),
            ] {
                try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(name)"))
            }
        })
        let pass = EncoderPass(
            model: server.encoder.model, compute: server.encoder.compute, maximumTokens: 16)
        var first: [Float] = []
        try pass.hiddenStates(of: [server.encoder.row("abcdefgh")], adapter: nil) { _, states, _ in
            let width = server.encoder.model.configuration.hiddenSize
            first = Array(UnsafeBufferPointer(start: states, count: width))
        }
        let expected = first
        try await server.withClient { client in
            let answer = try await client.post("/v1/embeddings", ["input": "abcdefgh"])
            expectEqual(try vectors(answer), [expected])
            let long = try await client.post("/v1/embeddings", ["input": "abcdefghi"])
            try long.expectError(400, parameter: "input", code: "context_length_exceeded")
            #expect(long.text.contains("11 tokens") && long.text.contains("at most 10"))
            let cut = try await client.post(
                "/v1/embeddings", ["input": "abcdefghi", "truncate_prompt_tokens": -1])
            expectEqual(try vectors(cut), [expected])
            // Classes are told from as many tokens as the model has positions.
            #expect(try await client.post("/v1/classify", ["input": "abcdefghi"]).status == 200)
        }
    }

    @Test func `what is not right is named`() async throws {
        let server = try TestEncoderServer()
        try await server.withClient { client in
            for (body, parameter) in [
                ([:], "input"), (["input": []], "input"), (["input": 5], "input"),
                (["input": [["a", "b"]]], "input"), (["input": [[1], ["x"]]], "input[1]"),
                (["input": [1000]], "input"), (["input": [[]]], "input"),
                (["input": "x", "encoding_format": "text"], "encoding_format"),
                (["input": "x", "dimensions": 5], "dimensions"),
                (["input": .string(String(repeating: "x", count: 100))], "input"),
                (["input": .array(Array(repeating: "x", count: 2049))], "input"),
            ] as [(JSON, String)] {
                let answer = try await client.post("/v1/embeddings", body)
                #expect(answer.status == 400, "\(answer.text)")
                #expect(try answer.json["error"]?["param"]?.string?.hasPrefix(parameter) == true)
            }
            try await client.post("/v1/embeddings", ["input": "x", "model": "nobody"]).expectError(
                404, parameter: "model", code: "model_not_found")
        }
    }

    @Test func `an encoder does not generate, and a decoder has no classes`() async throws {
        let encoder = try TestEncoderServer()
        try await encoder.withClient { client in
            for path in ["/v1/chat/completions", "/v1/completions"] {
                let answer = try await client.post(path, ["prompt": "x"])
                try answer.expectError(400, parameter: "model", code: "unsupported")
                #expect(answer.text.contains("does not generate"))
            }
            try await client.post(
                "/apply-template", ["messages": [["role": "user", "content": "x"]]]
            ).expectError(400, parameter: "messages", code: "unsupported")
        }
        let decoder = try TestServer()
        try await decoder.withClient { client in
            let answer = try await client.post("/v1/classify", ["input": "x"])
            try answer.expectError(400, parameter: "model", code: "unsupported")
        }
    }

    @Test func `a base without a head is told to need an adapter`() async throws {
        let server = try TestEncoderServer(
            adapters: ["moods": ["sad", "glad"], "plain": []], prepare: Self.removeHead)
        try await server.withClient { client in
            for model in ["tiny", "plain"] {
                let answer = try await client.post(
                    "/v1/classify", ["input": "x", "model": .string(model)])
                try answer.expectError(400, parameter: "model", code: "unsupported")
                #expect(answer.text.contains("no classifier"))
            }
            #expect(
                try await client.post("/v1/classify", ["input": "x", "model": "moods"]).status
                    == 200)
        }
    }

    /// Calls the classifier's tensors something else.
    private static func removeHead(_ folder: String) throws {
        let url = URL(filePath: folder + "/model.safetensors")
        var data = try Data(contentsOf: url)
        for name in ["classifier.weight", "classifier.bias"] {
            let range = try #require(data.range(of: Data("\"\(name)\"".utf8)))
            data[range.lowerBound + 1] = UInt8(ascii: "x")
        }
        try data.write(to: url)
    }

    @Test func `tokens, models, health and metrics are told as a decoder's are`() async throws {
        let server = try TestEncoderServer(adapters: ["moods": ["sad", "glad"]])
        try await server.withClient { client in
            #expect(
                try await client.post("/tokenize", ["prompt": "ab"]).json
                    == [
                        "count": 4, "max_model_len": 64, "tokens": [2, 97, 98, 3],
                        "token_strs": nil,
                    ])
            #expect(
                try await client.post("/detokenize", ["tokens": [97, 98]]).json["content"] == "ab")
            #expect(try await client.get("/health").status == 200)
            let models = try #require(try await client.get("/v1/models").json["data"]?.array)
            #expect(models.map { $0["id"]?.string } == ["tiny", "moods"])
            #expect(models.allSatisfy { $0["max_model_len"]?.int == 64 })
            #expect(models[1]["modules_applied"]?.int == 4 && models[1]["modules_total"]?.int == 12)
            let digest = try #require(models[1]["digest"]?.string)
            let pinned = try await client.post(
                "/v1/classify", ["input": "x", "model": .string("moods@" + digest.prefix(12))])
            #expect(pinned.status == 200)
            #expect(try await client.post("/v1/embeddings", ["input": "x"]).status == 200)
            let metrics = try await client.get("/metrics").text
            for line in [
                "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 2",
                "lorikeet:adapter_requests_total{adapter=\"moods\"} 1",
                "lorikeet:adapter_prompt_tokens_total{adapter=\"\"} 3",
                "lorikeet:engine_steps_total 2", "vllm:prompt_tokens_total{model_name=\"tiny\"} 6",
                "vllm:num_requests_waiting{model_name=\"tiny\"} 0",
                "lorikeet:http_requests_total{route=\"/v1/classify\",status=\"200\"} 1",
            ] {
                #expect(metrics.contains(line), "\(line) of \(metrics)")
            }
            #expect(
                try await client.post("/v1/unload_lora_adapter", ["lora_name": "moods"]).status
                    == 200)
            try await client.post("/v1/classify", ["input": "x", "model": "moods"]).expectError(
                404, parameter: "model")
        }
    }

    @Test func `a client that goes away takes its texts along`() async throws {
        // A text a step, so that all take thousands of steps: seconds, when going takes milliseconds.
        var options = EncoderBatcherOptions()
        options.passTokens = 1
        let server = try TestEncoderServer(batcher: options)
        let text = JSON.string(String(repeating: "x", count: 60))
        let body = (["input": .array(Array(repeating: text, count: 2048))] as JSON).text()
        @Sendable func count() -> Int {
            let statistics = server.batcher.statistics
            return statistics.running + statistics.waiting
        }
        try await server.withClient(.live) { client in
            let port = try #require(client.client.port)
            let connections = try (0..<8).map { _ in try RawConnection(port: port) }
            for connection in connections {
                connection.send(
                    "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: "
                        + "\(body.utf8.count)\r\n\r\n\(body)")
            }
            while count() == 0 { try await Task.sleep(for: .milliseconds(1)) }
            for connection in connections { connection.drop() }
            while count() > 0 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(server.batcher.statistics.steps < 8 * 2048)
            #expect(try await client.post("/v1/embeddings", ["input": "x"]).status == 200)
        }
    }

    @Test func `past the limit requests are turned away`() async throws {
        var options = EncoderBatcherOptions()
        options.waitingLimit = 0
        let server = try TestEncoderServer(batcher: options)
        try await server.withClient { client in
            for path in ["/v1/classify", "/v1/embeddings"] {
                let answer = try await client.post(path, ["input": "x"])
                try answer.expectError(429, code: "queue_full")
                #expect(answer.headers[.retryAfter] != nil)
            }
        }
    }
}
