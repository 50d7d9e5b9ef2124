import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Synchronization
import TestSupport
import Testing

struct RegistryConcurrencyTests {
    @Test func `readers see whole adapters while they are swapped`() async throws {
        let registry = smallRegistry()
        let paths = try [resource("plain"), resource("patterns")]
        let digests = try paths.map { try Adapters.load($0, for: smallModel).digest }
        try await registry.load(name: "a", path: paths[0])
        let done = Counter()
        try await withThrowingTaskGroup(of: Set<String>.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    var seen: Set<String> = []
                    while done.value == 0 {
                        let served = try await registry.acquire(AdapterReference(name: "a"))
                        let adapter = try #require(served.adapter)
                        // The terms belong to the digest: 14 modules of one, 3 of the other.
                        #expect(adapter.moduleCount == (served.key == digests[0] ? 14 : 3))
                        #expect(
                            adapter.deltas.values.allSatisfy {
                                $0.a.elements.allSatisfy(\.isFinite)
                            })
                        seen.insert(served.key)
                        await Task.yield()
                    }
                    return seen
                }
            }
            for round in 1...50 {
                try await registry.load(name: "a", path: paths[round % 2])
                await Task.yield()
            }
            done.add()
            for try await seen in group { #expect(seen.isSubset(of: digests)) }
        }
        #expect(try await registry.acquire(AdapterReference(name: "a")).key == digests[0])
    }

    @Test func `requests for one cold adapter cause one load`() throws {
        let folder = try TemporaryFolder()
        let made = Counter()
        let registry = AdapterRegistry<Int>(
            AdapterBase(smallModel), options: limits(memory: randomMemory())
        ) { _ in
            made.add()
            // Long enough for all threads to ask meanwhile.
            if made.value > 2 { Thread.sleep(forTimeInterval: 0.1) }
            return 0
        } memory: { _ in
            0
        }
        for (seed, name) in ["a", "b"].enumerated() {
            try packRandom(name, seed: UInt64(seed), in: folder)
            try registry.load(name: name, path: folder[name + ".lorikeet"])
        }
        #expect(registry.status(of: "a")?.state == .onDisk && made.value == 2)
        let keys = Mutex<Set<String>>([])
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            guard let served = try? registry.acquire("a") else { return }
            _ = keys.withLock { $0.insert(served.key) }
        }
        #expect(made.value == 3)
        #expect(keys.withLock { $0 } == [registry.status(of: "a")?.version?.digest])
        #expect(registry.status(of: "a")?.loads == 2 && registry.status(of: "a")?.uses == 8)
    }

    @Test func `loads, lookups, blends and unloads from many threads leave whole adapters`() throws
    {
        let folder = try TemporaryFolder()
        let names = ["a", "b", "c", "d"]
        var digests: Set<String> = []
        for seed in 0..<8 {
            digests.insert(try packRandom("\(seed)", seed: UInt64(seed), in: folder).digest)
        }
        let known = digests
        // Room for three: most lookups find their adapter on disk.
        let registry = smallRegistry(limits(memory: 3 * randomMemory()) { $0.maximumBlends = 2 })
        let wrong = Mutex<[String]>([])
        let paths = (0..<8).map { folder["\($0).lorikeet"] }
        DispatchQueue.concurrentPerform(iterations: 6) { thread in
            var generator = SeededGenerator(seed: UInt64(thread))
            for _ in 0..<60 {
                let name = names[Int.random(in: 0..<4, using: &generator)]
                let seed = Int.random(in: 0..<8, using: &generator)
                do {
                    switch Int.random(in: 0..<8, using: &generator) {
                    case 0: try registry.unload(name: name)
                    case 1, 2: try registry.load(name: name, path: paths[seed])
                    case 3:
                        let blend = try registry.blend([(name, 2), (names[0], 1)])
                        #expect(
                            blend.prepared.delta(at: ModulePath(layer: 1, module: .query)) != nil)
                    default:
                        let served = try registry.acquire(name)
                        #expect(served.adapter?.digest == served.key && known.contains(served.key))
                    }
                } catch let error as LorikeetError where error.code == .notFound {
                    // Somebody unloaded it.
                } catch {
                    wrong.withLock { $0.append("\(error)") }
                }
            }
        }
        registry.settle()
        #expect(wrong.withLock { $0 } == [])
        // One more lookup lets go of what threads had in use.
        for name in registry.names { _ = try registry.acquire(name) }
        registry.settle()
        for name in registry.names { try registry.unload(name: name) }
        #expect(registry.statuses.isEmpty)
    }

    @Test func `of two loads the one that began last decides`() throws {
        let folder = try TemporaryFolder()
        let slow = try packRandom("slow", seed: 1, in: folder).digest
        let fast = try packRandom("fast", seed: 2, in: folder).digest
        let (begun, go) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let registry = AdapterRegistry<String>(AdapterBase(smallModel)) { deltas in
            let digest = (deltas as? Adapter)?.digest ?? ""
            if digest == slow {
                begun.signal()
                go.wait()
            }
            return digest
        } memory: { _ in
            0
        }
        let path = folder["slow.lorikeet"]
        let done = DispatchGroup()
        DispatchQueue.global().async(group: done) {
            _ = try? registry.load(name: "a", path: path)
        }
        begun.wait()
        #expect(registry.status(of: "a")?.state == .loading)
        #expect(
            try failure { try registry.load(name: "a", path: path, replace: false) }.code == .exists
        )
        #expect(try failure { _ = try registry.acquire("a") }.problem.contains("being loaded"))
        try registry.load(name: "a", path: folder["fast.lorikeet"])
        go.signal()
        done.wait()
        #expect(try registry.acquire("a").key == fast)
        #expect(registry.status(of: "a")?.earlier == [slow])
    }

    @Test func `a name that is given up while it is loaded stays given up`() throws {
        let folder = try TemporaryFolder()
        try packRandom("a", seed: 1, in: folder)
        let (begun, go) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let registry = AdapterRegistry<Int>(AdapterBase(smallModel)) { _ in
            begun.signal()
            go.wait()
            return 0
        } memory: { _ in
            0
        }
        let path = folder["a.lorikeet"]
        let codes = Mutex<[LorikeetError.Code?]>([])
        let done = DispatchGroup()
        DispatchQueue.global().async(group: done) {
            let result = Result { try registry.load(name: "a", path: path) }
            if case .failure(let error) = result {
                codes.withLock { $0.append((error as? LorikeetError)?.code) }
            }
        }
        begun.wait()
        try registry.unload(name: "a")
        go.signal()
        done.wait()
        #expect(codes.withLock { $0 } == [.notFound])
        #expect(registry.statuses.isEmpty && registry.residentMemory == 0)
    }

    @Test func `a name that is given up while it comes back from disk leaves nothing`() throws {
        let folder = try TemporaryFolder()
        let made = Counter()
        let (begun, go) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let registry = AdapterRegistry<Int>(
            AdapterBase(smallModel), options: limits(memory: randomMemory())
        ) { _ in
            made.add()
            guard made.value == 3 else { return 0 }
            begun.signal()
            go.wait()
            return 3
        } memory: { _ in
            0
        }
        for (seed, name) in ["a", "b"].enumerated() {
            try packRandom(name, seed: UInt64(seed), in: folder)
            try registry.load(name: name, path: folder[name + ".lorikeet"])
        }
        let got = Mutex<[Int]>([])
        let done = DispatchGroup()
        DispatchQueue.global().async(group: done) {
            guard let served = try? registry.acquire("a") else { return }
            got.withLock { $0.append(served.prepared) }
        }
        begun.wait()
        #expect(registry.status(of: "a")?.state == .loading)
        for name in ["a", "b"] { try registry.unload(name: name) }
        go.signal()
        done.wait()
        registry.settle()
        #expect(got.withLock { $0 } == [3] && registry.residentMemory == 0)
    }

    @Test func `many swaps keep no more memory than the first`() throws {
        let folder = try TemporaryFolder()
        let registry = smallRegistry()
        for seed in 0..<2 { try packRandom("\(seed)", seed: UInt64(seed), in: folder) }
        for round in 0..<400 {
            try registry.load(name: "a", path: folder["\(round % 2).lorikeet"])
            #expect(registry.residentMemory == randomMemory())
        }
        #expect(registry.status(of: "a")?.loads == 400)
    }
}
