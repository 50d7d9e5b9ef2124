import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file that grows at its end while others may read it.
final class AppendedFile {
    /// Where it lies.
    let path: String
    private let descriptor: Int32

    /// Opens the file at `path`, which may exist.
    ///
    /// - Throws: `.io` where it cannot be written.
    init(path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure(path, "cannot open for writing") }
    }

    deinit { close(descriptor) }

    /// Appends `bytes`, by one write where the system takes them at once: another process that reads along
    /// sees all of them or none.
    ///
    /// - Throws: `.io` where the system refuses (a full disk).
    func append(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                throw Self.failure(path, "cannot write")
            }
            rest = rest.dropFirst(written)
        }
    }

    private static func failure(_ path: String, _ what: String) -> LorikeetError {
        LorikeetError(.io, path, "\(what): \(String(cString: strerror(errno)))")
    }
}
