import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Synchronization
import Testing

struct AdapterFolderWatcherTests {
    private let folder: TemporaryFolder
    private let registry = smallRegistry()
    private let events = Events()
    private let watcher: AdapterFolderWatcher

    /// What a watcher reported, in words.
    private final class Events: Sendable {
        private let list = Mutex<[String]>([])

        func add(_ event: AdapterFolderWatcher.Event) {
            let text =
                switch event {
                case .loaded(let name): "loaded \(name)"
                case .unloaded(let name): "unloaded \(name)"
                case .failed(let name, let error): "failed \(name): \(error.code)"
                }
            list.withLock { $0.append(text) }
        }

        func take() -> [String] {
            list.withLock { list in
                defer { list = [] }
                return list
            }
        }
    }

    init() throws {
        folder = try TemporaryFolder()
        watcher = try AdapterFolderWatcher(folder.path, registry: registry) { [events] in
            events.add($0)
        }
    }

    /// What looks report.
    private func looks(_ count: Int) -> [String] {
        for _ in 0..<count { watcher.scan() }
        return events.take()
    }

    @Test func `folders and bundles appear by their names once they are settled`() throws {
        try writeRandom(folder["a"], seed: 1)
        try packRandom("b", seed: 2, in: folder)
        try write([1], to: folder["notes.txt"])
        try writeRandom(folder[".hidden"], seed: 3)
        try FileManager.default.createDirectory(
            atPath: folder["empty"], withIntermediateDirectories: true)
        #expect(looks(1) == [])
        #expect(looks(1) == ["loaded a", "loaded b"])
        #expect(looks(3) == [])
        #expect(registry.names == ["a", "b"])
    }

    @Test func `a changed file is loaded again, and a request keeps the version it has`() throws {
        let first = try packRandom("a", seed: 1, in: folder).digest
        #expect(looks(2) == ["loaded a"])
        let held = try registry.acquire("a")
        let second = try packRandom("a", seed: 2, in: folder, replace: true).digest
        #expect(looks(1) == [])
        #expect(try registry.acquire("a") === held && held.key == first)
        #expect(looks(1) == ["loaded a"])
        #expect(try registry.acquire("a").key == second)
    }

    @Test func `what goes is unloaded, but not when it is away for one look`() throws {
        try packRandom("a", seed: 1, in: folder)
        #expect(looks(2) == ["loaded a"])
        let bytes = try contents(folder["a.lorikeet"])
        try FileManager.default.removeItem(atPath: folder["a.lorikeet"])
        #expect(looks(1) == [] && registry.names == ["a"])
        try write(bytes, to: folder["a.lorikeet"])
        // The same content, but written anew.
        #expect(looks(2) == ["loaded a"])
        try FileManager.default.removeItem(atPath: folder["a.lorikeet"])
        #expect(looks(2) == ["unloaded a"] && registry.names.isEmpty)
        try write(bytes, to: folder["a.lorikeet"])
        #expect(looks(2) == ["loaded a"])
    }

    @Test func `a file that is still being copied is not read`() throws {
        let source = try TemporaryFolder()
        try packRandom("a", seed: 1, in: source)
        let bytes = try contents(source["a.lorikeet"])
        for part in 1...4 {
            try write(Array(bytes.prefix(bytes.count * part / 4)), to: folder["a.lorikeet"])
            #expect(looks(1) == [])
        }
        #expect(looks(1) == ["loaded a"])
    }

    @Test func `a bundle that does not decode is reported once a change, and tried again`() throws {
        let source = try TemporaryFolder()
        let digest = try packRandom("a", seed: 1, in: source).digest
        let bytes = try contents(source["a.lorikeet"])
        try write(Array(bytes.dropLast(9)), to: folder["a.lorikeet"])
        #expect(looks(2) == ["failed a: malformed"])
        #expect(looks(5) == [])
        let status = try #require(registry.status(of: "a"))
        #expect(status.state == .failed && status.version == nil)
        #expect(
            try failure { _ = try registry.acquire("a") }.problem.contains("could not be loaded"))
        // Another bad one is another report.
        try write(Array(bytes.dropLast(10)), to: folder["a.lorikeet"])
        #expect(looks(2) == ["failed a: malformed"])
        try write(bytes, to: folder["a.lorikeet"])
        #expect(looks(2) == ["loaded a"])
        #expect(try registry.acquire("a").key == digest)
        // The version before stays when a change is bad.
        try write([], to: folder["a.lorikeet"])
        #expect(looks(2) == ["failed a: malformed"])
        #expect(try registry.acquire("a").key == digest)
        // And a bad one that goes is forgotten.
        try FileManager.default.removeItem(atPath: folder["a.lorikeet"])
        #expect(looks(2) == ["unloaded a"] && registry.statuses.isEmpty)
    }

    @Test func `a failure that passes is overcome without a change of the file`() throws {
        let source = try TemporaryFolder()
        try packRandom("a", seed: 1, in: source)
        let refuse = Counter()
        let registry = AdapterRegistry<Int>(AdapterBase(smallModel)) { _ in
            refuse.add()
            if refuse.value < 3 { throw LorikeetError(.io, "memory", "none is left") }
            return 0
        } memory: { _ in
            0
        }
        let watcher = try AdapterFolderWatcher(source.path, registry: registry) { [events] in
            events.add($0)
        }
        // At the second look, one later, and two later.
        for _ in 0..<5 { watcher.scan() }
        #expect(events.take() == ["failed a: io", "loaded a"])
        #expect(refuse.value == 3)
    }

    @Test func `a name that somebody else gave stays theirs`() throws {
        try registry.load(name: "a", path: resource("plain"))
        let mine = try registry.acquire("a")
        try packRandom("a", seed: 1, in: folder)
        #expect(looks(2) == ["failed a: exists"])
        #expect(try registry.acquire("a") === mine)
        try FileManager.default.removeItem(atPath: folder["a.lorikeet"])
        #expect(looks(2) == [])
        #expect(try registry.acquire("a") === mine)
    }

    @Test func `file names that are no adapter's name are reported`() throws {
        try packRandom("a@b", seed: 1, in: folder)
        #expect(looks(4) == ["failed a@b: invalidArgument"])
    }

    @Test func `a folder that cannot be read unloads nothing`() throws {
        try packRandom("a", seed: 1, in: folder)
        #expect(looks(2) == ["loaded a"])
        let away = folder.path + ".away"
        try FileManager.default.moveItem(atPath: folder.path, toPath: away)
        #expect(looks(3) == ["failed \(folder.path): io"])
        #expect(registry.names == ["a"])
        try FileManager.default.moveItem(atPath: away, toPath: folder.path)
        #expect(looks(2) == [])
        #expect(
            try failure {
                _ = try AdapterFolderWatcher(folder["none"], registry: registry)
            }.code == .notFound)
    }

    @Test func `it looks until its task is cancelled`() async throws {
        try packRandom("a", seed: 1, in: folder)
        let watching = Task { [watcher] in await watcher.run(every: .milliseconds(1)) }
        while registry.names.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        watching.cancel()
        await watching.value
        #expect(events.take() == ["loaded a"])
    }
}
