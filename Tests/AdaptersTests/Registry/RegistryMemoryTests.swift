import Foundation
import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

/// Adapters past the memory cap: kept on disk, and loaded again on demand.
struct RegistryMemoryTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A registry that has room for two of the bundles a, b, c.
    private func bundles(_ options: AdapterRegistryOptions? = nil) throws -> SmallRegistry {
        let registry = smallRegistry(options ?? limits(memory: 2 * randomMemory()))
        for (seed, name) in ["a", "b", "c"].enumerated() {
            try packRandom(name, seed: UInt64(seed), in: folder)
            try registry.load(name: name, path: folder[name + ".lorikeet"])
        }
        return registry
    }

    private func states(_ registry: SmallRegistry) -> [AdapterStatus.State] {
        registry.statuses.map(\.state)
    }

    @Test func `the least recently used go, and come back when asked for`() throws {
        let registry = try bundles()
        #expect(states(registry) == [.onDisk, .resident, .resident])
        #expect(registry.residentMemory == 2 * randomMemory())
        #expect(registry.status(of: "a")?.evictions == 1)
        let digest = try #require(registry.status(of: "a")?.version?.digest)
        #expect(try registry.acquire("a").key == digest)
        registry.settle()
        #expect(states(registry) == [.resident, .onDisk, .resident])
        #expect(registry.status(of: "a")?.loads == 2)
        _ = try registry.acquire("c")
        _ = try registry.acquire("b")
        registry.settle()
        #expect(states(registry) == [.onDisk, .resident, .resident])
    }

    @Test func `one that a request has stays`() throws {
        let registry = smallRegistry(limits(memory: 2 * randomMemory()))
        for (seed, name) in ["a", "b", "c"].enumerated() {
            try packRandom(name, seed: UInt64(seed), in: folder)
        }
        try registry.load(name: "a", path: folder["a.lorikeet"])
        let held = try registry.acquire("a")
        try registry.load(name: "b", path: folder["b.lorikeet"])
        try registry.load(name: "c", path: folder["c.lorikeet"])
        #expect(states(registry) == [.resident, .onDisk, .resident])
        #expect(try registry.acquire("a") === held)
    }

    @Test func `a folder is packed into the cache before it goes, and its file removed with it`()
        throws
    {
        let registry = smallRegistry(
            limits(memory: randomMemory(), cache: folder["cache"]))
        try writeRandom(folder["a"], seed: 1)
        try writeRandom(folder["b"], seed: 2)
        let digest = try registry.load(name: "a", path: folder["a"]).digest
        try registry.load(name: "b", path: folder["b"])
        registry.settle()
        #expect(states(registry) == [.onDisk, .resident])
        let cache = { try FileManager.default.contentsOfDirectory(atPath: folder["cache"]) }
        #expect(try cache() == [digest + ".lorikeet"])
        // From the cache: the folder itself is gone.
        try FileManager.default.removeItem(atPath: folder["a"])
        #expect(try registry.acquire("a").key == digest)
        registry.settle()
        #expect(try cache().count == 2)
        try registry.unload(name: "a")
        registry.settle()
        #expect(try cache().count == 1)
    }

    @Test func `without a cache a folder is loaded from where it is`() throws {
        let registry = smallRegistry(limits(memory: randomMemory()))
        try writeRandom(folder["a"], seed: 1)
        try writeRandom(folder["b"], seed: 2)
        let digest = try registry.load(name: "a", path: folder["a"]).digest
        try registry.load(name: "b", path: folder["b"])
        #expect(states(registry) == [.onDisk, .resident])
        #expect(try registry.acquire("a").key == digest)
    }

    @Test func `a cache that cannot be written falls back on the folder`() throws {
        try write([1], to: folder["cache"])
        let registry = smallRegistry(limits(memory: randomMemory(), cache: folder["cache"]))
        try writeRandom(folder["a"], seed: 1)
        try writeRandom(folder["b"], seed: 2)
        let digest = try registry.load(name: "a", path: folder["a"]).digest
        try registry.load(name: "b", path: folder["b"])
        registry.settle()
        #expect(states(registry) == [.onDisk, .resident])
        #expect(try registry.acquire("a").key == digest)
        // Nobody removes what is not the cache's.
        try registry.unload(name: "a")
        registry.settle()
        #expect(Adapters.isAdapter(folder["a"]))
    }

    @Test func `a file that changed or went meanwhile is told`() throws {
        let registry = try bundles()
        let digest = try #require(registry.status(of: "a")?.version?.digest)
        let other = try packRandom("a", seed: 9, in: folder, replace: true).digest
        let changed = try failure { _ = try registry.acquire("a") }
        #expect(changed.code == .mismatch && changed.expected == digest && changed.got == other)
        try FileManager.default.removeItem(atPath: folder["a.lorikeet"])
        #expect(try failure { _ = try registry.acquire("a") }.code == .notFound)
        let status = try #require(registry.status(of: "a"))
        #expect(status.state == .failed && status.failure?.contains("no such adapter") == true)
        // It comes back with its file.
        try packRandom("a", seed: 0, in: folder)
        #expect(try registry.acquire("a").key == digest)
        #expect(registry.status(of: "a")?.failure == nil)
    }

    @Test func `an adapter larger than the cap is refused`() throws {
        let registry = smallRegistry(limits(memory: randomMemory() - 1))
        try writeRandom(folder["a"], seed: 1)
        let error = try failure { try registry.load(name: "a", path: folder["a"]) }
        #expect(error.code == .unsupported && error.got == "\(randomMemory())")
    }

    @Test func `blends count, and go like the others`() throws {
        let registry = smallRegistry(limits(memory: 4 * randomMemory()))
        for seed in 0..<2 {
            try packRandom("\(seed)", seed: UInt64(seed), in: folder)
            try registry.load(name: "\(seed)", path: folder["\(seed).lorikeet"])
        }
        let blend = try registry.blend([("0", 2), ("1", 1)]).memory
        registry.settle()
        #expect(blend == 2 * randomMemory())
        #expect(registry.residentMemory == 4 * randomMemory())
        for name in ["0", "1"] { _ = try registry.acquire(name) }
        try packRandom("2", seed: 2, in: folder)
        try registry.load(name: "2", path: folder["2.lorikeet"])
        #expect(registry.residentMemory == 3 * randomMemory())
        #expect(states(registry) == [.resident, .resident, .resident])
    }
}
