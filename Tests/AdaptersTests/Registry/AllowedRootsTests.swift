import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Testing

struct AllowedRootsTests {
    private let folder: TemporaryFolder
    private let roots: AllowedRoots

    init() throws {
        folder = try TemporaryFolder()
        let files = FileManager.default
        for name in ["root", "root/sub", "rooted", "outside"] {
            try files.createDirectory(atPath: folder[name], withIntermediateDirectories: true)
        }
        try writeRandom(folder["root/a"], seed: 1)
        try writeRandom(folder["root/sub/b"], seed: 2)
        try writeRandom(folder["outside/c"], seed: 3)
        try writeRandom(folder["rooted/d"], seed: 4)
        try AdapterBundle.pack(folder["outside/c"], to: folder["root/e.lorikeet"])
        for (link, target) in [
            ("root/out", "outside/c"), ("root/in", "root/a"), ("way", "root"),
        ] {
            try files.createSymbolicLink(
                atPath: folder[link], withDestinationPath: folder[target])
        }
        roots = try AllowedRoots([folder["way"]])
    }

    @Test func `what lies within a root is found, by any way that leads there`() throws {
        let root = try roots.resolve("a").dropLast(2)
        #expect(root.hasSuffix("/root"))
        for (path, place) in [
            ("a", "a"), ("sub/b", "sub/b"), ("e.lorikeet", "e.lorikeet"), ("in", "a"),
            ("sub/../a", "a"), (folder["root/a"], "a"), (folder["way/sub/b"], "sub/b"),
            (folder["outside/../root/a"], "a"),
        ] {
            #expect(try roots.resolve(path) == root + "/" + place, "\(path)")
        }
        #expect(try Adapters.load(roots.resolve("in"), for: smallModel).moduleCount == 2)
    }

    @Test func `what does not is refused like what does not exist`() throws {
        let missing = try failure { _ = try roots.resolve("none") }
        for path in [
            "../outside/c", "out", "/etc/passwd", "/etc", "/no/such/file", "../rooted/d", "", "/",
            ".", "sub", folder["outside/c"], folder["rooted/d"], folder["root"], "a\u{0}",
            "a/adapter_config.json/../../../outside/c",
        ] {
            let error = try failure { _ = try roots.resolve(path) }
            #expect(error.code == .notFound && error.problem == missing.problem, "\(path)")
            #expect(error.expected == missing.expected && error.got == nil && error.advice == nil)
        }
    }

    @Test func `a folder whose files lead out is refused`() throws {
        let file = "/adapter_model.safetensors"
        try FileManager.default.removeItem(atPath: folder["root/a"] + file)
        try FileManager.default.createSymbolicLink(
            atPath: folder["root/a"] + file, withDestinationPath: folder["outside/c"] + file)
        #expect(throws: LorikeetError.self) { try roots.resolve("a") }
        // As the cache of Hugging Face's hub has them: links that stay within.
        try FileManager.default.removeItem(atPath: folder["root/a"] + file)
        try FileManager.default.createSymbolicLink(
            atPath: folder["root/a"] + file, withDestinationPath: folder["root/sub/b"] + file)
        _ = try roots.resolve("a")
    }

    @Test func `what is neither file nor folder is refused`() throws {
        #expect(mkfifo(folder["root/pipe.lorikeet"], 0o600) == 0)
        #expect(throws: LorikeetError.self) { try roots.resolve("pipe.lorikeet") }
    }

    @Test func `a root must be a folder`() throws {
        for path in [folder["none"], folder["root/e.lorikeet"]] {
            #expect(try failure { _ = try AllowedRoots([path]) }.code == .notFound)
        }
        #expect(throws: LorikeetError.self) { try AllowedRoots([]).resolve(folder["root/a"]) }
    }
}
