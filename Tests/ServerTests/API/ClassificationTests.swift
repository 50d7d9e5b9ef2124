import Foundation
import LorikeetAdapters
import LorikeetRuntime
import LorikeetServer
import Testing

/// `/v1/classify` of an encoder.
@Suite struct ClassificationTests {
    // The same products in fp32, of one text and of several: sums of some hundred terms in another order.
    private static let tolerance = 1e-5

    private func probabilities(_ answer: TestAnswer) throws -> [[Double]] {
        #expect(answer.status == 200, "\(answer.text)")
        return try #require(try answer.json["data"]?.array).map {
            try #require($0["probs"]?.array).compactMap(\.double)
        }
    }

    private func expectEqual(
        _ got: [[Double]], _ expected: [[Double]],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(got.map(\.count) == expected.map(\.count), sourceLocation: sourceLocation)
        let worst = zip(got.joined(), expected.joined()).map { abs($0 - $1) }.max() ?? 1
        #expect(worst <= Self.tolerance, sourceLocation: sourceLocation)
    }

    @Test(arguments: ["bert_cls", "deberta_v3_cls"])
    func `texts and pairs are judged as the library judges them`(model: String) async throws {
        let server = try TestEncoderServer(
            model, adapters: ["moods": ["sad", "so-so", "glad", "?"]])
        try await server.withClient { client in
            for name in [nil, "moods"] {
                let classifier = try server.classifier(name)
                let inputs: [(String, pair: String?)] = [
                    ("ab", nil), ("a longer text", nil), ("ab", "cd"), ("", nil),
                ]
                let expected = try classifier(inputs)
                let answer = try await client.post(
                    "/v1/classify",
                    [
                        "model": .string(name ?? "tiny"),
                        "input": ["ab", "a longer text", ["ab", "cd"], ""],
                    ])
                expectEqual(try probabilities(answer), expected.map(\.scores))
                let json = try answer.json
                #expect(json["object"] == "list" && json["model"]?.string == name ?? "tiny")
                #expect(json["id"]?.string?.hasPrefix("classify-") == true)
                #expect((json["created"]?.int ?? 0) > 1_600_000_000)
                let data = try #require(json["data"]?.array)
                #expect(data.map { $0["index"]?.int } == [0, 1, 2, 3])
                #expect(data.map { $0["label"]?.string } == expected.map(\.label))
                #expect(
                    data.allSatisfy { $0["num_classes"]?.int == classifier.task.labels.count })
                // Special tokens and all: 4 + 15 + 7 + 2.
                #expect(json["usage"]?["prompt_tokens"]?.int == 28)
                #expect(json["usage"]?["total_tokens"]?.int == 28)

                let single = try await client.post(
                    "/classify", ["model": .string(name ?? "tiny"), "input": "ab"])
                expectEqual(try probabilities(single), [expected[0].scores])
                let tokens = try await client.post(
                    "/v1/classify", ["model": .string(name ?? "tiny"), "input": [2, 97, 98, 3]])
                expectEqual(try probabilities(tokens), [expected[0].scores])
            }
        }
    }

    @Test func `a head of one output answers its score`() async throws {
        let server = try TestEncoderServer(adapters: ["stars": ["stars"]])
        try await server.withClient { client in
            let expected = try server.classifier("stars")([("ab", pair: nil)])[0].scores[0]
            let answer = try await client.post(
                "/v1/classify", ["model": "stars", "input": ["ab"]])
            let entry = try #require(try answer.json["data"]?.array?.first)
            let score = try #require(entry["score"]?.double)
            #expect(abs(score - expected) <= Self.tolerance * max(1, abs(expected)))
            #expect(entry["label"]?.isNull == true && entry["num_classes"] == 1)
            #expect(entry["probs"] == [])
        }
    }

    @Test func `an adapter without a head is judged by the model's`() async throws {
        let server = try TestEncoderServer(adapters: ["plain": [], "moods": ["sad", "glad"]])
        try await server.withClient { client in
            let expected = try server.classifier("plain")([("ab", pair: nil)])
            let answer = try await client.post("/v1/classify", ["model": "plain", "input": "ab"])
            expectEqual(try probabilities(answer), expected.map(\.scores))
            // Scaled it is another one; an adapter with a head cannot be.
            let half: JSON = ["input": "ab", "adapters": [["name": "plain", "scale": 0.5]]]
            #expect(
                try probabilities(await client.post("/v1/classify", half))[0] != expected[0].scores)
            let blend: JSON = [
                "input": "ab", "adapters": [["name": "moods", "scale": 0.5], ["name": "plain"]],
            ]
            try await client.post("/v1/classify", blend).expectError(
                400, parameter: "adapters", code: "unsupported")
        }
    }

    @Test func `what is too long is refused with both lengths, or cut as is asked for`()
        async throws
    {
        let server = try TestEncoderServer()
        let text = String(repeating: "ab", count: 50)
        try await server.withClient { client in
            let answer = try await client.post("/v1/classify", ["input": ["x", .string(text)]])
            try answer.expectError(400, parameter: "input", code: "context_length_exceeded")
            #expect(answer.text.contains("input[1] has 102 tokens") && answer.text.contains("64"))
            // As the library cuts it, at the model's 64 positions; and further.
            let cut = try await client.post(
                "/v1/classify", ["input": .string(text), "truncate_prompt_tokens": -1])
            expectEqual(
                try probabilities(cut),
                try server.classifier(nil)([(text, pair: nil)]).map(\.scores))
            let short = try await client.post(
                "/v1/classify", ["input": "abcdef", "truncate_prompt_tokens": 4])
            expectEqual(
                try probabilities(short),
                try server.classifier(nil)([("ab", pair: nil)]).map(\.scores))
            let pair = try await client.post(
                "/v1/classify", ["input": [["abcdef", "x"]], "truncate_prompt_tokens": 6])
            expectEqual(
                try probabilities(pair),
                try server.classifier(nil)([("ab", pair: "x")]).map(\.scores))
        }
        let limited = try TestEncoderServer(change: { $0.promptLimit = 10 })
        try await limited.withClient { client in
            try await client.post("/v1/classify", ["input": "123456789"]).expectError(
                400, parameter: "input", code: "context_length_exceeded")
        }
    }

    @Test func `what is not right is named`() async throws {
        let server = try TestEncoderServer(adapters: ["moods": ["sad", "glad"]])
        try await server.withClient { client in
            for (body, parameter) in [
                ([:], "input"), (["input": []], "input"), (["input": 5], "input"),
                (["input": ["x": "y"]], "input"), (["input": [[]]], "input"),
                (["input": [["a"]]], "input[0]"),
                (["input": [["a", "b"], ["a", "b", "c"]]], "input[1]"),
                (["input": [["a", 5]]], "input[0]"), (["input": [["a", "b"], 5]], "input[1]"),
                (["input": [1000]], "input"), (["input": [-1]], "input"),
                (["input": [1.5]], "input[0]"),
                (["input": "x", "truncate_prompt_tokens": 0], "truncate_prompt_tokens"),
                (["input": "x", "truncate_prompt_tokens": -2], "truncate_prompt_tokens"),
                (["input": "x", "truncate_prompt_tokens": "y"], "truncate_prompt_tokens"),
                (["input": "x", "model": 5], "model"),
                (["input": .array(Array(repeating: "x", count: 2049))], "input"),
            ] as [(JSON, String)] {
                try await client.post("/v1/classify", body).expectError(400, parameter: parameter)
            }
            try await client.post("/v1/classify", ["input": "x", "model": "nobody"]).expectError(
                404, parameter: "model", code: "model_not_found")
            try await client.post("/v1/classify", "{").expectError(400, code: "invalid_json")
        }
    }

    @Test func `an answer is of one version, whichever is there meanwhile`() async throws {
        let server = try TestEncoderServer(adapters: ["moods": ["sad", "glad"]])
        let folder = server.folder + "/adapters"
        try TestEncoderServer.writeAdapter(
            to: folder + "/other", labels: ["one", "two", "three"], seed: 7, server.encoder)
        let texts = (0..<40).map { String(repeating: "ab", count: 1 + $0 % 20) }
        let body: JSON = ["model": "moods", "input": .array(texts.map { .string($0) })]
        let expected = try ["moods", "other"].map { name in
            try server.classifier(name)(texts.map { ($0, pair: nil) })
        }
        try await server.withClient { client in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for turn in 0..<20 {
                        let path = folder + (turn.isMultiple(of: 2) ? "/other" : "/moods")
                        let answer = try await client.post(
                            "/v1/load_lora_adapter",
                            [
                                "lora_name": "moods", "lora_path": .string(path),
                                "load_inplace": true,
                            ])
                        #expect(answer.status == 200, "\(answer.text)")
                    }
                }
                for _ in 0..<4 {
                    group.addTask {
                        for _ in 0..<10 {
                            let answer = try await client.post("/v1/classify", body)
                            let got = try probabilities(answer)
                            let version = try #require(
                                expected.first { $0[0].scores.count == got[0].count })
                            expectEqual(got, version.map(\.scores))
                            let labels = try answer.json["data"]?.array?.map { $0["label"]?.string }
                            #expect(labels == version.map(\.label))
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
