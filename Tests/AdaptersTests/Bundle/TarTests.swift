import LorikeetAdapters
import LorikeetRuntime
import Testing

struct TarTests {
    private func archive(_ files: [(String, [UInt8])]) -> [UInt8] {
        files.flatMap { name, content in
            Tar.header(name: name, size: content.count) + content
                + Tar.padding(after: content.count)
        } + Tar.end
    }

    /// Puts `bytes` at `offset` of the first header and corrects its checksum.
    private func edited(_ archive: [UInt8], _ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        var archive = archive
        archive.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        archive.replaceSubrange(148..<156, with: [UInt8](repeating: 0x20, count: 8))
        let sum = String(archive[..<512].reduce(0) { $0 + Int($1) }, radix: 8)
        let digits = String(repeating: "0", count: 6 - sum.count) + sum
        archive.replaceSubrange(148..<156, with: Array(digits.utf8) + [0, 0x20])
        return archive
    }

    private func files(in bytes: [UInt8]) throws -> [(name: String, content: Range<Int>)] {
        try bytes.withUnsafeBufferPointer { try Tar.files(in: $0, source: "tar") }
    }

    @Test func `files come back in order with their content`() throws {
        let contents: [(String, [UInt8])] = [
            ("a", []), ("b.json", [1]), ("c", [UInt8](repeating: 7, count: 512)),
            ("d", [UInt8](repeating: 9, count: 513)),
        ]
        let bytes = archive(contents)
        #expect(bytes.count == 512 * (4 + 0 + 1 + 1 + 2 + 2))
        let got = try files(in: bytes)
        #expect(got.map(\.name) == contents.map(\.0))
        #expect(got.map { Array(bytes[$0.content]) } == contents.map(\.1))
    }

    @Test func `owner, mode and time do not matter`() throws {
        let bytes = archive([("a", [1, 2, 3])])
        for (offset, field) in [
            (100, "0000777"), (108, "0001750"), (136, "14700000000"), (265, "root"),
        ] {
            let changed = edited(bytes, offset, Array(field.utf8))
            #expect(try files(in: changed).map(\.name) == ["a"])
        }
    }

    @Test(arguments: ["1", "2", "3", "4", "5", "6", "7", "x", "g", "L", "S"] as [Character])
    func `links, devices, folders and extensions are refused`(type: Character) throws {
        let changed = try edited(archive([("a", [1])]), 156, [#require(type.asciiValue)])
        #expect(try failure { _ = try files(in: changed) }.code == .malformed)
    }

    @Test(arguments: ["/etc/passwd", "../x", "a/b", "..", ".", "a\\b", ""])
    func `names that are paths are refused`(name: String) throws {
        let field = Array(name.utf8) + [UInt8](repeating: 0, count: 20)
        let changed = edited(archive([("a", [1])]), 0, field)
        #expect(throws: LorikeetError.self) { try files(in: changed) }
    }

    @Test(arguments: [
        "77777777777", "00000010000", "-0000000001", "0000000000x", "           ", "\u{0}\u{0}",
        "0x000000001", "999999999999",
    ])
    func `sizes that lie are refused`(size: String) throws {
        let changed = edited(archive([("a", [1])]), 124, Array(size.utf8))
        #expect(throws: LorikeetError.self) { try files(in: changed) }
    }

    @Test func `a size in base 256 is refused`() throws {
        let changed = edited(
            archive([("a", [1])]), 124, [0x80] + [UInt8](repeating: 0xFF, count: 11))
        #expect(throws: LorikeetError.self) { try files(in: changed) }
    }

    @Test func `a name after the name, a prefix and a link's target are refused`() throws {
        let bytes = archive([("a", [1])])
        for offset in [50, 157, 345] {
            #expect(throws: LorikeetError.self) {
                try files(in: edited(bytes, offset, [0x61]))
            }
        }
    }

    @Test func `the same name twice is refused`() throws {
        let bytes = archive([("a", [1]), ("a", [2])])
        #expect(
            try failure { _ = try files(in: bytes) }.problem.contains("twice"))
    }

    @Test func `every truncation is refused`() throws {
        let bytes = archive([("a", [1, 2, 3]), ("b", [4])])
        for count in 0..<bytes.count {
            #expect(throws: LorikeetError.self) {
                try files(in: Array(bytes[..<count]))
            }
        }
    }

    @Test func `every damaged header byte is refused or harmless`() throws {
        let bytes = archive([("a", [1, 2, 3])])
        for offset in 0..<512 {
            var damaged = bytes
            damaged[offset] ^= 1
            // The checksum field itself has a byte that is not counted: its last, a space or a zero.
            let files = try? files(in: damaged)
            #expect(files == nil || (148..<156).contains(offset))
        }
    }
}
