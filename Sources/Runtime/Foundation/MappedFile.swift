#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A file mapped read-only into memory; pages are shared with every process that maps it.
public final class MappedFile: @unchecked Sendable {
    // Unchecked: the mapping is read-only and lives exactly as long as this object.

    /// The path it was opened from.
    public let path: String
    /// The whole file.
    public let bytes: UnsafeRawBufferPointer

    /// Maps the file at `path`; an empty file maps to an empty buffer.
    public init(path: String) throws {
        self.path = path
        // Not waiting: a named pipe in a file's place is refused below, and would wait for a writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw LorikeetError(
                errno == ENOENT ? .notFound : .io, path,
                "cannot open: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw LorikeetError(.io, path, "not a regular file")
        }
        let count = Int(status.st_size)
        guard count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED
        else {
            throw LorikeetError(.io, path, "cannot map: \(String(cString: strerror(errno)))")
        }
        bytes = UnsafeRawBufferPointer(start: base, count: count)
    }

    /// Lets go of the pages that lie wholly within `part`: they no longer count as this process's
    /// memory, and come back from the file when they are read.
    public func releasePages(of part: UnsafeRawBufferPointer) {
        guard let base = part.baseAddress else { return }
        let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
        let first = (UInt(bitPattern: base) + page - 1) / page * page
        let end = (UInt(bitPattern: base) + UInt(part.count)) / page * page
        guard first < end, let start = UnsafeMutableRawPointer(bitPattern: first) else { return }
        madvise(start, Int(end - first), MADV_DONTNEED)
    }

    deinit {
        if let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }
}
