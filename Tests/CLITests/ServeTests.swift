import Foundation
import LorikeetRuntime
import TestSupport
import Testing

struct ServeTests {
    /// Runs a server on which somebody reads an answer of a million tokens.
    private func withEndlessAnswer(
        _ words: [String],
        _ body: (_ server: ServedProgram, _ answer: RawConnection) async throws -> Void
    ) async throws {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/tiny", positions: 1 << 20)
            let server = try await ServedProgram(["--model", folder + "/tiny"] + words)
            let answer = try server.post(
                "/v1/completions",
                "{\"prompt\":\"x\",\"max_tokens\":1000000,\"ignore_eos\":true,\"stream\":true}")
            #expect(await answer.read(until: "data: ")?.contains("text_completion") == true)
            try await body(server, answer)
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `answers that run on after SIGTERM are cut off in time`() async throws {
        try await withEndlessAnswer(["--shutdown-timeout", "2"]) { server, answer in
            server.running.send(SIGTERM)
            let end = await answer.read()
            #expect(end?.contains("shutting_down") == true)
            #expect(end?.hasSuffix("data: [DONE]\n\n\r\n0\r\n\r\n") == true)
            let outcome = server.running.outcome()
            #expect(outcome.status == 0 && outcome.errors.contains("no more requests"))
            #expect(outcome.errors.contains("answers are cut off"))
        }
    }

    @Test(
        .timeLimit(.minutes(5)),
        arguments: [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGTERM, SIGINT)])
    func `a second signal cuts answers off at once`(first: Int32, second: Int32) async throws {
        // Longer than the test may take.
        try await withEndlessAnswer(["--shutdown-timeout", "3600"]) { server, answer in
            server.running.send(first)
            try await server.wait(for: "Shutting down")
            server.running.send(second)
            #expect(await answer.read()?.contains("shutting_down") == true)
            let outcome = server.running.outcome()
            #expect(outcome.status == 0 && outcome.errors.contains("answers are cut off"))
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a server says where it is, answers, and ends on SIGTERM`() async throws {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/tiny")
            let server = try await ServedProgram([
                "--model", folder + "/tiny", "--json", "--host", "0.0.0.0",
            ])
            let models = await server.get("/v1/models")
            #expect(models?.contains("\"id\":\"tiny\"") == true)
            server.running.send(SIGTERM)
            let outcome = server.running.outcome()
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try outcome.json["port"]?.int == server.port)
            #expect(try outcome.json["model"]?.string == "tiny")
            // Open to the network without a key.
            #expect(outcome.errors.contains("there is no --api-keys"))
            #expect(outcome.errors.contains("request_id="))
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `an encoder is served`() async throws {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyTextEncoder.write("bert_cls", to: folder + "/tiny")
            let server = try await ServedProgram(["--model", folder + "/tiny"])
            let classes = await (try server.post("/v1/classify", "{\"input\":\"ab\"}")).read()
            #expect(classes?.contains("\"num_classes\":3") == true)
            let vectors = await (try server.post("/v1/embeddings", "{\"input\":\"ab\"}")).read()
            #expect(vectors?.contains("\"object\":\"embedding\"") == true)
            server.running.send(SIGTERM)
            #expect(server.running.outcome().status == 0)
        }
    }

    @Test(arguments: [
        (["--api-keys", "/nowhere"], "/nowhere"), (["--adapter", "x=/nowhere"], "/nowhere"),
        (["--tls-certificate", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
        (["--adapter", "../x=FOLDER"], "not an adapter's name"),
        (["--host", "192.0.2.1"], "cannot listen there"),
        (["--host", "nowhere.invalid"], "no address of this machine"),
    ])
    func `what cannot be served is an error`(words: [String], text: String) throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/tiny")
            let outcome = try Program.run(
                ["serve", "--model", folder + "/tiny", "--port", "0"] + words)
            #expect(outcome.status == 1 && outcome.errors.contains(text), "\(outcome.errors)")
        }
    }

    @Test(arguments: [
        ["--port", "70000"], ["--tls-key", "x"], ["--max-running", "0"], ["--model-name", "a/b"],
        ["--log-level", "loud"], ["--max-body", "much"],
    ])
    func `flags that make no sense are wrong usage`(words: [String]) throws {
        #expect(try Program.run(["serve", "--model", "x"] + words).status == 64)
    }
}
