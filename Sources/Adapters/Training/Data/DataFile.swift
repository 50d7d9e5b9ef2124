import Crypto
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file of lines that is read in parts.
///
/// It is not mapped: a file that another program shortens while it is mapped ends the process that
/// reads the missing part, and here it only reads shorter.
final class DataFile: Sendable {
    /// Bytes of the longest line: it is in memory whole.
    static let maximumLineLength = 1 << 28
    /// Bytes read at a time.
    private static let partLength = 1 << 20

    let path: String
    private let descriptor: Int32

    /// - Throws: `.notFound`, `.io`.
    init(path: String) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LorikeetError(
                errno == ENOENT ? .notFound : .io, path,
                "cannot open: \(String(cString: strerror(errno)))")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw LorikeetError(.io, path, "not a regular file")
        }
    }

    deinit { close(descriptor) }

    /// The bytes from `offset` on: `count` of them, or fewer where the file ends.
    ///
    /// - Throws: `.io`.
    func bytes(at offset: Int, count: Int) throws -> [UInt8] {
        let descriptor = descriptor
        var failed: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = pread(
                    descriptor, buffer.baseAddress! + filled, count - filled, offset + filled)
                if got < 0 && errno == EINTR { continue }
                if got < 0 { failed = errno }
                guard got > 0 else { return }
                filled += got
            }
        }
        guard failed == 0 else {
            throw LorikeetError(.io, path, "cannot read: \(String(cString: strerror(failed)))")
        }
        return bytes
    }

    /// A line that holds more than space.
    struct Line {
        /// From 1; blank lines count.
        var number: Int
        /// The first byte's place in the file.
        var offset: Int
        /// Without the newline; gone when the call ends that it is given to.
        var bytes: UnsafeRawBufferPointer
    }

    /// Calls `body` with the lines that hold more than space, a megabyte or so of them at a time.
    ///
    /// - Returns: the file's SHA-256.
    /// - Throws: `.io`, `.unsupported` for a line beyond `maximumLineLength`, and what `body` throws.
    func forEachPart(_ body: ([Line]) throws -> Void) throws -> String {
        var hash = SHA256()
        // What was read and not yet given out, its place in the file, and the lines before it.
        var pending: [UInt8] = []
        var (start, number) = (0, 0)
        var isAtEnd = false
        while !isAtEnd {
            let part = try bytes(at: start + pending.count, count: Self.partLength)
            isAtEnd = part.isEmpty
            hash.update(data: part)
            var (begin, unsearched) = (0, pending.count)
            pending += part
            try pending.withUnsafeBytes { bytes in
                var lines: [Line] = []
                while begin < bytes.count {
                    let newline = bytes[unsearched...].firstIndex(of: 0x0A)
                    guard let end = newline ?? (isAtEnd ? bytes.count : nil) else { break }
                    number += 1
                    let line = UnsafeRawBufferPointer(rebasing: bytes[begin..<end])
                    if !line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) {
                        lines.append(Line(number: number, offset: start + begin, bytes: line))
                    }
                    begin = min(end + 1, bytes.count)
                    unsearched = begin
                }
                try body(lines)
            }
            pending.removeFirst(begin)
            start += begin
            guard pending.count <= Self.maximumLineLength else {
                throw LorikeetError(
                    .unsupported, "\(path), line \(number + 1)",
                    "is longer than \(Self.maximumLineLength >> 20) MiB")
            }
        }
        return hash.finalize().hexadecimal
    }
}
