import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What tells that a file was written again without reading it: time, size and inode.
struct FileTraces: Equatable {
    private struct File: Equatable {
        var seconds: Int
        var nanoseconds: Int
        var size: Int
        var inode: UInt64
    }

    private var files: [File] = []

    /// Of the bundle or PEFT folder at `path`; nil when there is none, or not yet.
    init?(adapter path: String) {
        let isBundle = path.hasSuffix("." + AdapterBundle.pathExtension)
        let names = [AdapterFiles.configurationName, AdapterFiles.factorsName]
        for file in isBundle ? [path] : names.map({ path + "/" + $0 }) {
            var status = stat()
            guard stat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
            files.append(
                File(
                    seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec,
                    size: Int(status.st_size), inode: UInt64(status.st_ino)))
        }
    }
}
