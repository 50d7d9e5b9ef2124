import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet serve`, on a port of its own.
struct ServedProgram {
    /// The program.
    let running: Program.Running
    /// Its port.
    let port: Int

    /// Starts it and waits until it is ready; the test's time limit ends that.
    init(_ arguments: [String]) async throws {
        port = try Self.freePort()
        running = try Program.start(["serve", "--port", "\(port)"] + arguments)
        try await wait(for: "\"status\":\"ok\"")
    }

    /// What it answers to a GET; nil while there is nobody.
    func get(_ path: String) async -> String? {
        guard let connection = try? RawConnection(port: port) else { return nil }
        connection.send("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await connection.read()
    }

    /// A connection that has sent `body`.
    func post(_ path: String, _ body: String) throws -> RawConnection {
        let connection = try RawConnection(port: port)
        connection.send(
            "POST \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n" + body)
        return connection
    }

    /// Waits until it says `text` of its health.
    func wait(for text: String) async throws {
        var health: String?
        while running.isRunning {
            health = await get("/health")
            if health?.contains(text) == true { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("\(text) did not come, but \(health ?? "nothing")")
    }

    /// A port that nobody listens at.
    private static func freePort() throws -> Int {
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
}
