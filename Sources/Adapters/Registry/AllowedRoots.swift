import Foundation
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The folders from which a client may load adapters.
///
/// A path counts by where it leads once every link is followed. Whatever is wrong with it, the answer is
/// the same, so that nobody learns what exists elsewhere.
public struct AllowedRoots: Sendable {
    // Without a slash at the end.
    private let roots: [String]

    /// Allows what lies within the folders `roots`.
    ///
    /// - Throws: `.notFound` for a root that is no folder.
    public init(_ roots: [String]) throws {
        self.roots = try roots.map { root in
            guard let real = Self.real(root), Self.kind(real) == S_IFDIR else {
                throw LorikeetError(.notFound, root, "no folder that adapters can be loaded from")
            }
            return real == "/" ? "" : real
        }
    }

    /// Where the adapter at `path` is, if it is allowed.
    ///
    /// - path: a PEFT folder or a bundle; one that does not begin with `/` lies in one of the roots.
    /// - Returns: the path without links, which lies within a root.
    /// - Throws: `.notFound`, the same for what is elsewhere, what does not exist, and what is neither a
    ///   file nor a folder.
    public func resolve(_ path: String) throws -> String {
        let candidates = path.hasPrefix("/") ? [path] : roots.map { $0 + "/" + path }
        // A C string would end at a zero byte, and name something else.
        guard !path.isEmpty, !path.utf8.contains(0),
            let real = candidates.lazy.compactMap(allowed).first
        else {
            throw LorikeetError(
                .notFound, String(reflecting: String(path.prefix(1024))),
                "no adapter that may be loaded is there",
                expected: "a PEFT folder or bundle within an allowed folder")
        }
        return real
    }

    private func allowed(_ path: String) -> String? {
        guard let real = inside(path) else { return nil }
        switch Self.kind(real) {
        case S_IFREG: return real
        case S_IFDIR:
            // A link among its files must not lead out either.
            let files = [AdapterFiles.configurationName, AdapterFiles.factorsName]
            let leadsInside = files.allSatisfy { name in
                inside(real + "/" + name).map { Self.kind($0) == S_IFREG } ?? false
            }
            return leadsInside ? real : nil
        default: return nil
        }
    }

    /// The path without links, if it is within a root.
    private func inside(_ path: String) -> String? {
        guard let real = Self.real(path) else { return nil }
        return roots.contains { real == $0 || real.hasPrefix($0 + "/") } ? real : nil
    }

    private static func real(_ path: String) -> String? {
        guard let real = realpath(path, nil) else { return nil }
        defer { free(real) }
        return String(validatingCString: real)
    }

    private static func kind(_ path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
    }
}
