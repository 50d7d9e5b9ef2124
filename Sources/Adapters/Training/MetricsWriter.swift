public import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Appends to metrics.jsonl, a line a step or an evaluation, each in the file before the next step begins.
public final class MetricsWriter {
    private let path: String
    private let descriptor: Int32

    /// Opens the file at `path`, which may exist.
    ///
    /// - Throws: `.io` where it cannot be written.
    public init(path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure(path, "cannot open for writing") }
    }

    deinit { close(descriptor) }

    /// Appends one row.
    ///
    /// - Throws: `.io` where the system refuses (a full disk).
    public func append(_ row: JSON) throws {
        // One write a line: another process that reads along sees whole lines.
        try append(Array(row.text().utf8) + [0x0A])
    }

    /// Appends rows that are lines already: those of the run that this one goes on with.
    ///
    /// - Throws: `.io` where the system refuses.
    public func append(_ lines: [UInt8]) throws {
        var rest = lines[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                throw Self.failure(path, "cannot write")
            }
            rest = rest.dropFirst(written)
        }
    }

    /// All rows so far.
    ///
    /// - Throws: `.io` where the file cannot be read.
    public func contents() throws -> [UInt8] {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    private static func failure(_ path: String, _ what: String) -> LorikeetError {
        LorikeetError(.io, path, "\(what): \(String(cString: strerror(errno)))")
    }
}
