import Foundation
import HummingbirdTesting
import LorikeetRuntime
import LorikeetServer
import TestSupport
import Testing

/// What happens on connections whose clients are broken, slow or gone.
struct ConnectionTests {
    private static let body =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"max_tokens\": 1000, "
        + "\"n\": 64, \"ignore_eos\": true, \"stream\": STREAM}"

    private static func request(stream: Bool) -> String {
        let body = body.replacingOccurrences(of: "STREAM", with: stream ? "true" : "false")
        return "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)"
            + "\r\n\r\n\(body)"
    }

    private func withServer(
        _ change: (inout ServerOptions) -> Void = { _ in },
        _ body: @Sendable (TestServer, TestClient, Int) async throws -> Void
    ) async throws {
        let server = try TestServer(change: change)
        try await server.withClient(.live) { client in
            let port = try #require(client.client.port)
            try await body(server, client, port)
            // The server goes on.
            let connection = try RawConnection(port: port)
            connection.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await connection.read(until: "{\"status\":\"ok\"}") != nil)
        }
    }

    /// Waits until `condition` holds, 5 seconds at most.
    private func eventually(_ condition: () -> Bool) async throws -> Bool {
        for _ in 0..<500 {
            if condition() { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test(arguments: [true, false])
    func `a client that goes away ends its generation`(stream: Bool) async throws {
        try await withServer { server, client, port in
            let connection = try RawConnection(port: port)
            connection.send(Self.request(stream: stream))
            #expect(try await eventually { server.engine.statistics.running > 0 })
            connection.drop()
            #expect(try await eventually { server.engine.statistics.running == 0 })
            #expect(server.engine.statistics.generatedTokens < 64 * 1000)
        }
    }

    @Test func `a megabyte of headers is refused`() async throws {
        try await withServer { _, _, port in
            let connection = try RawConnection(port: port)
            connection.send("GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
            connection.send(String(repeating: "a", count: 1 << 20))
            let answer = try #require(await connection.read())
            #expect(answer.hasPrefix("HTTP/1.1 431 "), "\(answer.prefix(200))")
            #expect(answer.contains("\"code\":\"headers_too_large\""))
        }
    }

    @Test func `many headers are refused`() async throws {
        try await withServer { _, _, port in
            let connection = try RawConnection(port: port)
            connection.send("GET /health HTTP/1.1\r\nHost: x\r\n")
            connection.send((0..<1000).map { "X-\($0): a\r\n" }.joined() + "\r\n")
            let answer = try #require(await connection.read())
            #expect(answer.hasPrefix("HTTP/1.1 431 "), "\(answer.prefix(200))")
        }
    }

    @Test func `what is no HTTP is told so`() async throws {
        try await withServer { _, _, port in
            let connection = try RawConnection(port: port)
            connection.send("hello\r\n\r\n")
            let answer = try #require(await connection.read())
            #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer.prefix(200))")
            #expect(answer.contains("\"code\":\"invalid_http\""))
        }
    }

    @Test func `a body that ends early is refused`() async throws {
        try await withServer { server, _, port in
            let connection = try RawConnection(port: port)
            connection.send(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"me"
            )
            connection.closeOutput()
            let answer = try #require(await connection.read())
            #expect(answer.hasPrefix("HTTP/1.1 400 "), "\(answer.prefix(200))")
            #expect(answer.contains("\"code\":\"incomplete_request\""))
            #expect(server.engine.statistics.promptTokens == 0)
        }
    }

    @Test func `connections that say nothing, or never all, are dropped`() async throws {
        try await withServer {
            $0.idleTime = .milliseconds(300)
        } _: { _, _, port in
            for start in ["", "GET /health HT", "GET /health HTTP/1.1\r\nHost: x\r\nX-"] {
                let connection = try RawConnection(port: port)
                connection.send(start)
                #expect(await connection.read() != nil, "\(start)")
            }
        }
    }

    @Test func `a body that comes too slowly is given up`() async throws {
        try await withServer {
            $0.bodyTime = .milliseconds(300)
        } _: { _, _, port in
            let connection = try RawConnection(port: port)
            connection.send(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"me"
            )
            let answer = try #require(await connection.read(until: "timeout"))
            #expect(answer.hasPrefix("HTTP/1.1 408 "), "\(answer.prefix(200))")
        }
    }

    @Test func `a connection serves one request after another`() async throws {
        try await withServer { _, _, port in
            let connection = try RawConnection(port: port)
            for _ in 0..<3 {
                connection.send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                let answer = try #require(await connection.read(until: "{\"status\":\"ok\"}"))
                #expect(answer.hasPrefix("HTTP/1.1 200 "))
            }
        }
    }

    @Test func `a client that does not read is dropped`() async throws {
        try await withServer {
            $0.idleTime = .milliseconds(300)
        } _: { server, _, port in
            let connection = try RawConnection(port: port)
            // Some 20 MB of events: more than sockets hold.
            connection.send(Self.request(stream: true))
            #expect(try await eventually { server.engine.statistics.generatedTokens > 0 })
            #expect(try await eventually { server.engine.statistics.running == 0 })
            try await Task.sleep(for: .milliseconds(600))
            let answer = try #require(await connection.read())
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && !answer.contains("[DONE]"))
        }
    }
}
