import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A TCP connection to this machine that sends what no HTTP client would.
public final class RawConnection: Sendable {
    /// There is nobody to connect to.
    public struct Failure: Error {}

    private let descriptor: Int32

    /// Connects; reading gives up after `timeout` seconds.
    public init(port: Int, timeout: Int = 10) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var wait = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure() }
    }

    deinit { close(descriptor) }

    /// Sends what the other side takes; one that has closed takes nothing.
    public func send(_ text: String) {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }

    /// Sends no more.
    public func closeOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Goes away as a process that is killed does.
    public func drop() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Reads until `text` has come or the other side has closed; nil when neither happens in time.
    ///
    /// On a thread of its own: the server needs those that tests run on.
    public func read(until text: String? = nil) async -> String? {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [self] in continuation.resume(returning: receive(until: text))
            }
        }
    }

    private func receive(until text: String?) -> String? {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 {
                return errno == ECONNRESET ? String(decoding: bytes, as: UTF8.self) : nil
            }
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
            let all = String(decoding: bytes, as: UTF8.self)
            if let text, all.contains(text) { return all }
        }
    }
}
