import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Synchronization
import Testing

/// A counter that tasks share.
final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func add() { count.withLock { $0 += 1 } }
}

struct AdapterRegistryTests {
    @Test func `adapters are loaded, replaced and forgotten by name`() throws {
        let registry = smallRegistry()
        #expect(registry.names.isEmpty && registry.status(of: "a") == nil)
        let first = try registry.load(name: "a", path: resource("plain"))
        try registry.load(name: "b", path: resource("patterns"))
        #expect(registry.names == ["a", "b"])
        #expect(try registry.adapter("a") === first && first.name == "a")
        let second = try registry.load(name: "a", path: resource("all_linear_f16"))
        #expect(try registry.adapter("a") === second && second.digest != first.digest)
        // Who began with the first still has it, whole.
        #expect(try first.digest == Adapters.load(resource("plain"), for: smallModel).digest)
        try registry.unload(name: "a")
        #expect(registry.names == ["b"])
        let error = try failure { try registry.unload(name: "a") }
        #expect(error.code == .notFound && error.expected == "one of b")
    }

    @Test func `no name is the base, an unknown one an error with the names there are`() throws {
        let registry = smallRegistry()
        #expect(try registry.adapter(nil) == nil)
        #expect(try failure { _ = try registry.adapter("x") }.code == .notFound)
        try registry.load(name: "b", path: resource("plain"))
        #expect(try failure { _ = try registry.acquire("x") }.expected == "one of b")
    }

    @Test func `a name is taken unless it may be replaced, and the base's never given`() throws {
        let registry = smallRegistry(limits { $0.reservedNames = ["base"] })
        let first = try registry.load(name: "a", path: resource("plain"), replace: false)
        let error = try failure {
            try registry.load(name: "a", path: resource("patterns"), replace: false)
        }
        #expect(error.code == .exists && error.got == first.digest)
        #expect(try registry.adapter("a") === first)
        #expect(
            try failure { try registry.load(name: "base", path: resource("plain")) }.code == .exists
        )
        #expect(
            try failure { try registry.load(name: "a/b", path: resource("plain")) }.code
                == .invalidArgument)
        // A failure leaves a new name free.
        #expect(
            try failure { try registry.load(name: "c", path: "/none", replace: false) }.code
                == .notFound)
        try registry.load(name: "c", path: resource("plain"), replace: false)
    }

    @Test func `a failed load leaves what there was, and is told`() throws {
        let folder = try TemporaryFolder()
        let registry = smallRegistry()
        let first = try registry.load(name: "a", path: resource("plain"))
        try writeFolder(folder["bad"], queryFactors().dropLast(), settings: [queryTargets])
        #expect(try failure { try registry.load(name: "a", path: folder["bad"]) }.code == .mismatch)
        #expect(try registry.adapter("a") === first)
        let status = try #require(registry.status(of: "a"))
        #expect(status.state == .resident && status.loads == 1)
        #expect(status.failure?.contains("lora_B") == true)
        try registry.load(name: "a", path: resource("patterns"))
        #expect(registry.status(of: "a")?.failure == nil)
        // A new name that could not be loaded is none.
        #expect(throws: LorikeetError.self) { try registry.load(name: "b", path: folder["bad"]) }
        #expect(registry.status(of: "b") == nil)
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
        let base = AdapterBase(smallModel) {
            asked.add()
            return String(repeating: "a", count: 64)
        }
        let registry = AdapterRegistry(base)
        try registry.load(name: "folder", path: resource("plain"))
        #expect(asked.value == 0)
        try registry.load(name: "own", path: folder["own.lorikeet"])
        let error = try failure { try registry.load(name: "other", path: folder["other.lorikeet"]) }
        #expect(error.code == .mismatch && error.expected?.contains("bbbb") == true)
        #expect(error.got == String(repeating: "a", count: 64))
        try registry.load(name: "other", path: folder["other.lorikeet"], allowOtherBase: true)
        #expect(asked.value == 1)
        try base.prepare()
        #expect(asked.value == 1)
    }

    @Test func `a status says what was loaded and how it was used`() throws {
        let folder = try TemporaryFolder()
        var options = AdapterBundle.Options()
        options.method = "reflora"
        options.baseDigest = String(repeating: "a", count: 64)
        options.training = ["last_loss": 1.5]
        try AdapterBundle.pack(resource("patterns"), to: folder["a.lorikeet"], options: options)
        let times = Mutex<[String]>([])
        let registry = smallRegistry(
            limits {
                $0.onLoad = { name, duration in
                    #expect(duration > .zero)
                    times.withLock { $0.append(name) }
                }
            })
        let adapter = try registry.load(name: "a", path: folder["a.lorikeet"])
        for _ in 0..<3 { _ = try registry.acquire("a") }
        let status = try #require(registry.statuses.first)
        let version = try #require(status.version)
        #expect(status.name == "a" && status.state == .resident && status.failure == nil)
        #expect(version.digest == adapter.digest && version.path == folder["a.lorikeet"])
        #expect(version.rank == 4 && version.method == "reflora")
        #expect(version.modules == 3 && version.baseModules == 14)
        #expect(version.memory == adapter.memory && adapter.memory == 4 * adapter.parameterCount)
        #expect(version.training?["last_loss"] == 1.5 && version.baseDigest == options.baseDigest)
        #expect(status.loads == 1 && status.uses == 3 && status.evictions == 0)
        #expect(times.withLock { $0 } == ["a"])
        let json = status.json
        #expect(json["modules_applied"] == 3 && json["modules_total"] == 14)
        #expect(json["state"] == "resident" && json["digest"]?.string == adapter.digest)
        #expect(json["training"]?["last_loss"] == 1.5 && json["signer"]?.isNull == true)
    }

    @Test func `what serving wants is made once, before anybody gets it`() throws {
        let made = Counter()
        let registry = AdapterRegistry<Int>(AdapterBase(smallModel)) { deltas in
            made.add()
            return deltas.delta(at: ModulePath(layer: 0, module: .query))?.rank ?? 0
        } memory: { _ in
            1000
        }
        let adapter = try registry.load(name: "a", path: resource("plain"))
        for _ in 0..<2 {
            let served = try registry.acquire("a")
            #expect(served.prepared == adapter.configuration.rank)
            #expect(served.memory == adapter.memory + 1000 && served.key == adapter.digest)
        }
        #expect(made.value == 1 && registry.residentMemory == adapter.memory + 1000)
    }

    @Test func `an adapter that cannot be prepared is refused`() throws {
        let registry = AdapterRegistry<Int>(AdapterBase(smallModel)) { _ in
            throw LorikeetError(.unsupported, "rank", "too high")
        } memory: { _ in
            0
        }
        #expect(
            try failure { try registry.load(name: "a", path: resource("plain")) }.code
                == .unsupported)
        #expect(registry.names.isEmpty)
    }
}
