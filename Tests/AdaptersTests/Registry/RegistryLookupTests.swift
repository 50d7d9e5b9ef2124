import LorikeetAdapters
import LorikeetRuntime
import TestSupport
import Testing

struct RegistryLookupTests {
    @Test func `a digest pins a version, whatever the name means by then`() throws {
        let folder = try TemporaryFolder()
        let one = try packRandom("one", seed: 1, in: folder).digest
        let two = try packRandom("two", seed: 2, in: folder).digest
        let registry = smallRegistry()
        try registry.load(name: "a", path: folder["one.lorikeet"])
        try registry.load(name: "a", path: folder["two.lorikeet"])
        #expect(try registry.acquire("a").key == two)
        #expect(try registry.acquire("a@\(two)").key == two)
        // Read again from its file, which still holds it.
        #expect(try registry.acquire("a@\(one.prefix(8))").key == one)
        #expect(try registry.acquire("a@\(one.uppercased())").key == one)
        #expect(registry.status(of: "a")?.earlier == [one])
        let error = try failure { _ = try registry.acquire("a@00000000") }
        #expect(error.code == .notFound)
        #expect(error.expected == "one of a@\(two.prefix(12)), a@\(one.prefix(12))")
    }

    @Test func `an earlier version lives while a request has it, then in its file`() throws {
        let folder = try TemporaryFolder()
        let one = try packRandom("a", seed: 1, in: folder).digest
        let registry = smallRegistry()
        try registry.load(name: "a", path: folder["a.lorikeet"])
        let held = try registry.acquire("a")
        let two = try packRandom("a", seed: 2, in: folder, replace: true).digest
        try registry.load(name: "a", path: folder["a.lorikeet"])
        #expect(try registry.acquire("a").key == two && held.key == one)
        #expect(try registry.acquire("a@\(one)") === held)
        withExtendedLifetime(held) { #expect(registry.residentMemory == 2 * randomMemory()) }
    }

    @Test func `an earlier version whose file is another is not found, and what exists is told`()
        throws
    {
        let folder = try TemporaryFolder()
        let one = try packRandom("a", seed: 1, in: folder).digest
        let registry = smallRegistry()
        try registry.load(name: "a", path: folder["a.lorikeet"])
        let two = try packRandom("a", seed: 2, in: folder, replace: true).digest
        try registry.load(name: "a", path: folder["a.lorikeet"])
        let error = try failure { _ = try registry.acquire("a@\(one)") }
        #expect(error.code == .notFound && error.expected == "one of a@\(two.prefix(12))")
        #expect(registry.status(of: "a")?.earlier == [])
    }

    @Test func `only so many versions are remembered`() throws {
        let folder = try TemporaryFolder()
        let registry = smallRegistry(limits { $0.keptVersions = 2 })
        var digests: [String] = []
        for seed in 1...4 {
            digests.append(try packRandom("\(seed)", seed: UInt64(seed), in: folder).digest)
            try registry.load(name: "a", path: folder["\(seed).lorikeet"])
        }
        #expect(registry.status(of: "a")?.earlier == [digests[2]])
        #expect(registry.residentMemory == randomMemory())
    }

    @Test func `names that begin alike are different adapters`() throws {
        let registry = smallRegistry()
        let foo = try registry.load(name: "foo", path: resource("plain"))
        let bar = try registry.load(name: "foobar", path: resource("patterns"))
        #expect(try registry.adapter("foo") === foo && registry.adapter("foobar") === bar)
        #expect(try failure { _ = try registry.adapter("foob") }.code == .notFound)
        try registry.unload(name: "foo")
        #expect(try registry.adapter("foobar") === bar)
        #expect(throws: LorikeetError.self) { try registry.adapter("foo") }
    }

    @Test func `the same content under two names is one, in memory and for caches`() throws {
        let folder = try TemporaryFolder()
        try packRandom("a", seed: 1, in: folder)
        try writeRandom(folder["b"], seed: 1)
        let registry = smallRegistry()
        try registry.load(name: "a", path: folder["a.lorikeet"])
        try registry.load(name: "b", path: folder["b"])
        #expect(try registry.acquire("a") === registry.acquire("b"))
        #expect(registry.residentMemory == randomMemory())
        try registry.unload(name: "a")
        #expect(try registry.acquire("b").adapter?.moduleCount == 2)
    }

    @Test func `the same name loaded again with other content is another key`() throws {
        let folder = try TemporaryFolder()
        let registry = smallRegistry()
        try writeRandom(folder["a"], seed: 1)
        try registry.load(name: "a", path: folder["a"])
        let first = try registry.acquire("a")
        try writeRandom(folder["a"], seed: 2)
        try registry.load(name: "a", path: folder["a"])
        let second = try registry.acquire("a")
        #expect(first.key != second.key)
        try writeRandom(folder["a"], seed: 1)
        try registry.load(name: "a", path: folder["a"])
        #expect(try registry.acquire("a") === first)
    }

    @Test(
        arguments: [
            "", "a/b", "..", "a..b", "a\\b", "a\nb", "a\u{0}b", "a\u{7F}b", "a@", "a@1234567",
            "a@zzzzzzzz", "a@@12345678", "@12345678", String(repeating: "a", count: 129),
            "a@" + String(repeating: "0", count: 65),
        ])
    func `what is no name is refused`(text: String) throws {
        #expect(try failure { _ = try AdapterReference(text) }.code == .invalidArgument)
    }

    @Test(arguments: [
        "a", "Pirate v1.2", "ü", "a:b", ".hidden", String(repeating: "a", count: 128),
    ])
    func `what is a name is taken`(text: String) throws {
        try AdapterName.check(text)
        #expect(try AdapterReference(text).name == text)
        let pinned = try AdapterReference(text + "@0123ABCD")
        #expect(pinned.name == text && pinned.pin == "0123abcd")
    }
}
