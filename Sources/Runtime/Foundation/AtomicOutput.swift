public import Foundation

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Outputs that appear whole or not at all: written beside their place, synced, then renamed.
public enum AtomicOutput {
    /// Writes a file through `body`, which gets the handle of a temporary file in the same folder.
    ///
    /// - Parameters:
    ///   - path: the file that appears.
    ///   - permissions: who may read and write it, less the process's mask.
    ///   - body: writes the file.
    /// - Throws: what `body` throws, or `.io` (a full disk, a folder that cannot be written); the
    ///   temporary file is removed and `path` is as it was.
    public static func file(
        at path: String, permissions: UInt32 = 0o644, _ body: (OutputFile) throws -> Void
    ) throws {
        let temporary = path + ".partial-\(getpid())"
        // One left by a killed process may have other permissions.
        if permissions != 0o644 { unlink(temporary) }
        let output = try OutputFile(creating: temporary, for: path, permissions: permissions)
        do {
            try body(output)
            try output.finish()
            guard rename(temporary, path) == 0 else {
                throw OutputFile.failure(path, "cannot rename")
            }
        } catch {
            unlink(temporary)
            throw error
        }
        syncFolder(containing: path)
    }

    /// Writes `data` as the file at `path`.
    public static func write(_ data: some ContiguousBytes, to path: String) throws {
        try file(at: path) { output in try data.withUnsafeBytes { try output.write($0) } }
    }

    /// Fills a new folder through `body`, which gets the path of a temporary folder.
    ///
    /// - Parameters:
    ///   - path: the folder that appears.
    ///   - replace: whether an existing output is replaced; otherwise it is an error.
    ///   - temporary: the folder's path until it is whole, on the same disk; nil for one beside `path`. What
    ///     is there is removed.
    ///   - body: fills the folder; when it throws, nothing is left.
    /// - Throws: `.exists` before any work when `path` exists and `replace` is false.
    public static func folder(
        at path: String, replace: Bool, by temporary: String? = nil,
        _ body: (String) throws -> Void
    ) throws {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        try requireAbsent(path, unless: replace)
        let temporary = temporary ?? path + ".partial-\(getpid())"
        let files = FileManager.default
        try? files.removeItem(atPath: temporary)
        do {
            try files.createDirectory(atPath: temporary, withIntermediateDirectories: true)
        } catch {
            throw LorikeetError(
                .io, path, "cannot create the folder: \(error.localizedDescription)")
        }
        do {
            try body(temporary)
            // The old folder steps aside first, so that no moment shows a mixture of the two.
            let old = path + ".replaced-\(getpid())"
            let replaced = files.fileExists(atPath: path)
            if replaced, rename(path, old) != 0 { throw OutputFile.failure(path, "cannot replace") }
            guard rename(temporary, path) == 0 else {
                let error = OutputFile.failure(path, "cannot rename")
                if replaced { rename(old, path) }
                throw error
            }
            if replaced { try? files.removeItem(atPath: old) }
        } catch {
            try? files.removeItem(atPath: temporary)
            throw error
        }
        syncFolder(containing: path)
    }

    /// Throws `.exists` when there is something at `path` that may not be replaced.
    public static func requireAbsent(_ path: String, unless replace: Bool) throws {
        guard !replace, FileManager.default.fileExists(atPath: path) else { return }
        throw LorikeetError(
            .exists, path, "the output exists already",
            advice: "Name another output, or pass --force to replace it.")
    }

    private static func syncFolder(containing path: String) {
        // Not NSString's deletingLastPathComponent, which traps for a name of one letter.
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? "."
        let descriptor = open(String(folder), O_RDONLY | O_DIRECTORY)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}

/// A file being written: sequential bytes, every failure thrown with the errno's words.
public final class OutputFile {
    private var descriptor: Int32
    private let place: String
    /// Bytes written so far.
    public private(set) var count = 0

    fileprivate init(creating path: String, for place: String, permissions: UInt32) throws {
        self.place = place
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, permissions)
        guard descriptor >= 0 else { throw OutputFile.failure(place, "cannot create") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Appends `bytes`.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        var done = 0
        while done < bytes.count {
            // rebasing: a slice's base address is where it starts
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let written = posixWrite(descriptor, rest.baseAddress, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                throw OutputFile.failure(place, "cannot write")
            }
            done += written
        }
        count += bytes.count
    }

    /// Writes `bytes` at `offset`, leaving where `write` appends alone; a gap reads as zeros.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let written = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
            if written < 0 {
                if errno == EINTR { continue }
                throw OutputFile.failure(place, "cannot write")
            }
            done += written
        }
    }

    /// Appends the bytes of an array.
    public func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try write($0) }
    }

    fileprivate func finish() throws {
        guard fsync(descriptor) == 0 else { throw OutputFile.failure(place, "cannot sync") }
        let closing = descriptor
        descriptor = -1
        guard close(closing) == 0 else { throw OutputFile.failure(place, "cannot close") }
    }

    fileprivate static func failure(_ path: String, _ what: String) -> LorikeetError {
        let code = errno
        return LorikeetError(
            .io, path, "\(what): \(String(cString: strerror(code)))",
            advice: code == ENOSPC ? "Free some space or name an output on another disk." : nil)
    }
}

private func posixWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
