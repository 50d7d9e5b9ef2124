import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Synchronization
import Testing

/// A counter that tasks share.
private final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func add() { count.withLock { $0 += 1 } }
}

struct AdapterRegistryTests {
    @Test func `adapters are loaded, replaced and forgotten by name`() throws {
        let registry = AdapterRegistry(model: smallModel)
        #expect(registry.names.isEmpty && registry["a"] == nil)
        let first = try registry.load(name: "a", path: resource("plain"))
        try registry.load(name: "b", path: resource("patterns"))
        #expect(registry.names == ["a", "b"])
        #expect(registry["a"] === first && first.name == "a")
        let second = try registry.load(name: "a", path: resource("all_linear_f16"))
        #expect(registry["a"] === second && second.digest != first.digest)
        // Who began with the first still has it, whole.
        #expect(try first.digest == Adapters.load(resource("plain"), for: smallModel).digest)
        try registry.unload(name: "a")
        #expect(registry.names == ["b"])
        let error = try failure { try registry.unload(name: "a") }
        #expect(error.code == .notFound && error.expected == "one of b")
    }

    @Test func `no name is the base, an unknown one an error`() throws {
        let registry = AdapterRegistry(model: smallModel)
        #expect(try registry.adapter(nil) == nil)
        #expect(try failure { _ = try registry.adapter("x") }.code == .notFound)
    }

    @Test func `a failed load leaves what there was`() throws {
        let folder = try TemporaryFolder()
        let registry = AdapterRegistry(model: smallModel)
        let first = try registry.load(name: "a", path: resource("plain"))
        try writeFolder(folder["bad"], queryFactors().dropLast(), settings: [queryTargets])
        #expect(throws: LorikeetError.self) { try registry.load(name: "a", path: folder["bad"]) }
        #expect(registry["a"] === first)
    }

    @Test func `the base's digest is asked for once, and only by a bundle that states one`() throws
    {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.baseDigest = String(repeating: "a", count: 64)
        try AdapterBundle.pack(resource("plain"), to: folder["own.lorikeet"], options: options)
        options.baseDigest = String(repeating: "b", count: 64)
        try AdapterBundle.pack(resource("plain"), to: folder["other.lorikeet"], options: options)
        let asked = Counter()
        let registry = AdapterRegistry(model: smallModel) {
            asked.add()
            return String(repeating: "a", count: 64)
        }
        try registry.load(name: "folder", path: resource("plain"))
        #expect(asked.value == 0)
        try registry.load(name: "own", path: folder["own.lorikeet"])
        let error = try failure { try registry.load(name: "other", path: folder["other.lorikeet"]) }
        #expect(error.code == .mismatch)
        try registry.load(name: "other", path: folder["other.lorikeet"], allowOtherBase: true)
        #expect(asked.value == 1)
    }

    @Test func `readers see whole adapters while they are swapped`() async throws {
        let registry = AdapterRegistry(model: smallModel)
        let paths = try [resource("plain"), resource("patterns")]
        let digests = try paths.map { try Adapters.load($0, for: smallModel).digest }
        try registry.load(name: "a", path: paths[0])
        let done = Counter()
        try await withThrowingTaskGroup(of: Set<String>.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    var seen: Set<String> = []
                    while done.value == 0 {
                        guard let adapter = registry["a"] else { continue }
                        // The terms belong to the digest: 14 modules of one, 3 of the other.
                        #expect(adapter.moduleCount == (adapter.digest == digests[0] ? 14 : 3))
                        #expect(
                            adapter.deltas.values.allSatisfy {
                                $0.a.elements.allSatisfy(\.isFinite)
                            })
                        seen.insert(adapter.digest)
                        await Task.yield()
                    }
                    return seen
                }
            }
            for round in 1...50 {
                try registry.load(name: "a", path: paths[round % 2])
                await Task.yield()
            }
            done.add()
            for try await seen in group { #expect(seen.isSubset(of: digests)) }
        }
        #expect(registry["a"]?.digest == digests[0])
    }
}
