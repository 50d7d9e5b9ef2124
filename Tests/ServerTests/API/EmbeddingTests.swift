import Foundation
import LorikeetRuntime
import Testing

/// Embeddings: means of hidden states.
@Suite struct EmbeddingTests {
    private func vectors(_ answer: TestAnswer) throws -> [[Double]] {
        try #require(try answer.json["data"]?.array).map {
            try #require($0["embedding"]?.array).compactMap(\.double)
        }
    }

    @Test func `each input has a vector of length 1, which its adapter changes`() async throws {
        let server = try TestServer(adapters: ["one"])
        try await server.withClient { client in
            let answer = try await client.post(
                "/v1/embeddings", ["input": ["hello", "good bye", "hello"]])
            let found = try vectors(answer)
            #expect(found.count == 3 && found[0].count == 64)
            #expect(found[0] == found[2] && found[0] != found[1])
            for vector in found {
                let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
                // 64 numbers rounded to fp32.
                #expect(abs(length - 1) < 1e-6)
            }
            #expect(try answer.json["usage"]?["prompt_tokens"]?.int == 18)
            let tokens: JSON = .array("hello".utf8.map { .int(Int($0)) })
            #expect(
                try vectors(await client.post("/v1/embeddings", ["input": tokens])) == [found[0]])
            let adapted = try vectors(
                await client.post("/v1/embeddings", ["input": "hello", "model": "one"]))
            #expect(adapted != [found[0]])
        }
    }

    @Test func `base64 holds the same numbers`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            let floats = try vectors(
                await client.post("/v1/embeddings", ["input": "hello"]))[0]
            let answer = try await client.post(
                "/v1/embeddings", ["input": "hello", "encoding_format": "base64"])
            let text = try #require(
                try answer.json["data"]?.array?.first?["embedding"]?.string)
            let data = try #require(Data(base64Encoded: text))
            let words = data.withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) }
            #expect(words.map { Double(Float(bitPattern: UInt32(littleEndian: $0))) } == floats)
        }
    }

    @Test func `what is not right is named`() async throws {
        let server = try TestServer()
        try await server.withClient { client in
            for (body, parameter) in [
                ([:], "input"), (["input": []], "input"), (["input": 5], "input"),
                (["input": ""], "input"), (["input": [[1], ["x"]]], "input[1]"),
                (["input": "x", "encoding_format": "text"], "encoding_format"),
                (["input": "x", "dimensions": 5], "dimensions"),
                (["input": .string(String(repeating: "x", count: 2000))], "input"),
            ] as [(JSON, String)] {
                try await client.post("/v1/embeddings", body).expectError(
                    400, parameter: parameter)
            }
        }
    }
}
