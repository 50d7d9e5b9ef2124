import Foundation
import LorikeetRuntime
import TestSupport
import Testing

struct ServeTests {
    /// A port that nobody listens at.
    private func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
            }
        }
        try #require(result == 0)
        return Int(in_port_t(bigEndian: address.sin_port))
    }

    /// What a server on `port` answers to a GET; nil while there is none.
    private func get(_ path: String, port: Int) async -> String? {
        guard let connection = try? RawConnection(port: port) else { return nil }
        connection.send("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await connection.read()
    }

    /// Waits until the server on `port` says `text` of its health; the test's time limit ends it.
    private func wait(for text: String, from server: Program.Running, port: Int) async throws {
        var health: String?
        while server.isRunning {
            health = await get("/health", port: port)
            if health?.contains(text) == true { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("\(text) did not come, but \(health ?? "nothing")")
    }

    /// Runs a server on which somebody reads an answer of a million tokens.
    private func withEndlessAnswer(
        _ words: [String],
        _ body: (_ server: Program.Running, _ port: Int, _ answer: RawConnection) async throws ->
            Void
    ) async throws {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/tiny", positions: 1 << 20)
            let port = try freePort()
            let server = try Program.start(
                ["serve", "--model", folder + "/tiny", "--port", "\(port)"] + words)
            try await wait(for: "ok", from: server, port: port)
            let request =
                "{\"prompt\":\"x\",\"max_tokens\":1000000,\"ignore_eos\":true,\"stream\":true}"
            let answer = try RawConnection(port: port)
            answer.send(
                "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                    + "Content-Length: \(request.utf8.count)\r\n\r\n" + request)
            #expect(await answer.read(until: "data: ")?.contains("text_completion") == true)
            try await body(server, port, answer)
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `answers that run on after SIGTERM are cut off in time`() async throws {
        try await withEndlessAnswer(["--shutdown-timeout", "2"]) { server, port, answer in
            server.send(SIGTERM)
            let end = await answer.read()
            #expect(end?.contains("shutting_down") == true)
            #expect(end?.hasSuffix("data: [DONE]\n\n\r\n0\r\n\r\n") == true)
            let outcome = server.outcome()
            #expect(outcome.status == 0 && outcome.errors.contains("no more requests"))
            #expect(outcome.errors.contains("answers are cut off"))
        }
    }

    @Test(
        .timeLimit(.minutes(5)),
        arguments: [(SIGTERM, SIGTERM), (SIGINT, SIGINT), (SIGTERM, SIGINT)])
    func `a second signal cuts answers off at once`(first: Int32, second: Int32) async throws {
        // Longer than the test may take.
        try await withEndlessAnswer(["--shutdown-timeout", "3600"]) { server, port, answer in
            server.send(first)
            try await wait(for: "Shutting down", from: server, port: port)
            server.send(second)
            #expect(await answer.read()?.contains("shutting_down") == true)
            let outcome = server.outcome()
            #expect(outcome.status == 0 && outcome.errors.contains("answers are cut off"))
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a server says where it is, answers, and ends on SIGTERM`() async throws {
        try await Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/tiny")
            let port = try freePort()
            let server = try Program.start([
                "serve", "--model", folder + "/tiny", "--port", "\(port)", "--json", "--host",
                "0.0.0.0",
            ])
            try await wait(for: "{\"status\":\"ok\"}", from: server, port: port)
            let models = await get("/v1/models", port: port)
            #expect(models?.contains("\"id\":\"tiny\"") == true)
            server.send(SIGTERM)
            let outcome = server.outcome()
            #expect(outcome.status == 0, "\(outcome.errors)")
            #expect(try outcome.json["port"]?.int == port)
            #expect(try outcome.json["model"]?.string == "tiny")
            // Open to the network without a key.
            #expect(outcome.errors.contains("there is no --api-keys"))
            #expect(outcome.errors.contains("request_id="))
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
