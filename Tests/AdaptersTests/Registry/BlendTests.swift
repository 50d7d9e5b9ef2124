import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

struct BlendTests {
    private let folder: TemporaryFolder
    private let registry: SmallRegistry
    private let path = ModulePath(layer: 1, module: .query)

    init() throws {
        folder = try TemporaryFolder()
        registry = smallRegistry(limits { $0.maximumBlends = 2 })
        for (name, seed, rank) in [("a", 1, 4), ("b", 2, 8), ("c", 3, 1)] as [(String, UInt64, Int)]
        {
            try writeRandom(folder[name], seed: seed, rank: rank)
            try registry.load(name: name, path: folder[name])
        }
    }

    /// s B A of one layer, row by row.
    private func product(_ deltas: any LowRankDeltas) throws -> [Double] {
        let delta = try #require(deltas.delta(at: path))
        let (inputs, outputs) = (delta.a.count / delta.rank, delta.b.count / delta.rank)
        return (0..<outputs * inputs).map { i in
            (0..<delta.rank).reduce(0) { sum, r in
                sum + Double(delta.scale) * Double(delta.b[i / inputs * delta.rank + r])
                    * Double(delta.a[r * inputs + i % inputs])
            }
        }
    }

    @Test func `a blend is the sum of its adapters' terms, each with its scale`() throws {
        let blend = try registry.blend([("a", 0.5), ("b", -2), ("c", 1)])
        let got = try product(blend.prepared)
        let parts = try ["a", "b", "c"].map { try product(registry.acquire($0).prepared) }
        for i in got.indices {
            let expected = 0.5 * parts[0][i] - 2 * parts[1][i] + parts[2][i]
            // Scales are multiplied into B in fp32: one rounding of 13 terms that are at most about 10.
            #expect(abs(got[i] - expected) < 1e-4)
        }
        #expect(blend.adapter == nil && blend.prepared.delta(at: path)?.rank == 13)
    }

    @Test func `one adapter at scale 1 is the adapter itself`() throws {
        #expect(try registry.blend([("a", 1)]) === registry.acquire("a"))
        #expect(try registry.blend([("a", 1), ("b", 0)]) === registry.acquire("a"))
        #expect(try registry.blend([("a", 0.25), ("a", 0.75)]) === registry.acquire("a"))
        let half = try registry.blend([("a", 0.5)])
        let whole = try product(registry.acquire("a").prepared)
        // Halving is exact.
        #expect(try product(half.prepared) == whole.map { $0 / 2 })
    }

    @Test func `a key depends on digests and scales alone`() throws {
        let one = try registry.blend([("a", 0.5), ("b", 0.5)])
        #expect(try registry.blend([("b", 0.5), ("a", 0.5)]) === one)
        #expect(try registry.blend([("a", 0.5), ("b", 0.25)]).key != one.key)
        #expect(try registry.blend([("a", 0.5), ("c", 0.5)]).key != one.key)
        try registry.load(name: "other", path: folder["a"])
        #expect(try registry.blend([("other", 0.5), ("b", 0.5)]).key == one.key)
        // Another content of the name is another blend.
        try writeRandom(folder["a"], seed: 9)
        try registry.load(name: "a", path: folder["a"])
        #expect(try registry.blend([("a", 0.5), ("b", 0.5)]).key != one.key)
    }

    @Test func `blends are kept up to their number, the least recently used go first`() throws {
        let single = registry.residentMemory
        let keys = try [Float(2), 3, 4].map { scale in
            let blend = try registry.blend([("a", scale), ("c", 1)])
            return (blend.key, blend.memory)
        }
        registry.settle()
        // Two of three, and they count.
        #expect(registry.residentMemory == single + keys[1].1 + keys[2].1)
        #expect(Set(keys.map(\.0)).count == 3)
        #expect(try registry.blend([("a", 2), ("c", 1)]).key == keys[0].0)
    }

    @Test func `a blend with nothing, too much or no number is refused`() throws {
        #expect(try failure { _ = try registry.blend([]) }.code == .invalidArgument)
        #expect(
            try failure { _ = try registry.blend(Array(repeating: ("a", 1), count: 9)) }.code
                == .invalidArgument)
        for scale in [Float.nan, .infinity, 0] {
            #expect(try failure { _ = try registry.blend([("a", scale)]) }.code == .invalidArgument)
        }
        #expect(
            try failure { _ = try registry.blend([("a", 3e38), ("a", 3e38)]) }.code
                == .invalidArgument)
        #expect(try failure { _ = try registry.blend([("a", 1), ("x", 1)]) }.code == .notFound)
    }

    @Test func `a part may be pinned, and is counted as used`() throws {
        let digest = try registry.acquire("a").key
        let parts = [
            BlendPart(try AdapterReference("a@\(digest.prefix(8))"), scale: 2),
            BlendPart(AdapterReference(name: "b"), scale: 1),
        ]
        let blend = try registry.acquire(parts)
        #expect(try registry.blend([("b", 1), ("a", 2)]) === blend)
        #expect(registry.status(of: "b")?.uses == 2)
        #expect(registry.status(of: "a")?.uses == 3)
    }

    @Test func `tasks wait for a blend without blocking`() async throws {
        let parts = ["a", "b"].map { BlendPart(AdapterReference(name: $0), scale: 3) }
        let one = try await registry.acquire(parts)
        let two = try await registry.acquire(parts)
        #expect(one === two)
        let single = try await registry.acquire(AdapterReference(name: "a"))
        #expect(single.adapter?.name == "a")
    }
}
