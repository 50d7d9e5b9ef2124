#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Token texts and their ids, both ways; texts are bytes, so canonically equivalent tokens stay apart.
struct Vocabulary: Sendable {
    /// All texts, one after the other.
    private var heap: [UInt8] = []
    /// Entry i's text is `heap[bounds[i]..<bounds[i + 1]]`.
    private var bounds: [Int32] = [0]
    /// Entry i's id.
    private var ids: [Int32] = []
    /// Id to entry, -1 where there is none.
    private var entries: [Int32] = []
    /// Open addressing over the entries, -1 where free; a power of two, at most half full.
    private var slots: [Int32] = []

    /// Reads `vocab`, an object from texts to ids.
    init(_ section: TokenizerSection) throws {
        guard let vocabulary = section.section("vocab") else {
            throw section.failure(.malformed, "vocab", "a tokenizer without vocabulary")
        }
        guard let members = vocabulary.json.object, !members.isEmpty else {
            throw vocabulary.failure(.malformed, nil, "not an object of tokens", got: "no token")
        }
        grow(to: members.count)
        for (text, value) in members {
            guard let id = value.int.flatMap(Int32.init(exactly:)), id >= 0 else {
                throw vocabulary.failure(.malformed, text, "not a token id", got: value.text())
            }
            var text = text
            try text.withUTF8 { try insert($0, id: id, of: members.count, section: vocabulary) }
        }
    }

    /// Adds a text that is not there yet; `count` is the number of tokens that the file has in all.
    mutating func insert(
        _ text: UnsafeBufferPointer<UInt8>, id: Int32, of count: Int, section: TokenizerSection
    ) throws {
        // Gaps are legal; a table for an id far past the tokens would be a lying file's to size.
        guard Int(id) < count * 16 + 65_536 else {
            throw section.failure(
                .malformed, String(decoding: text, as: UTF8.self),
                "an id far past the vocabulary's size",
                got: String(id))
        }
        if Int(id) >= entries.count {
            entries += repeatElement(-1, count: max(Int(id) + 1, count) - entries.count)
        }
        guard entries[Int(id)] < 0 else {
            throw section.failure(
                .malformed, String(decoding: text, as: UTF8.self),
                "the id \(id) is that of \(String(reflecting: token(of: id) ?? "")) already")
        }
        guard heap.count + text.count <= Int(Int32.max) else {
            throw section.failure(.unsupported, nil, "more than 2 GiB of tokens")
        }
        grow(to: ids.count + 1)
        slots[slot(of: text)] = Int32(ids.count)
        entries[Int(id)] = Int32(ids.count)
        ids.append(id)
        heap += text
        bounds.append(Int32(heap.count))
    }

    /// The number of tokens.
    var count: Int { ids.count }

    /// One past the highest id.
    var idBound: Int { (entries.lastIndex { $0 >= 0 } ?? -1) + 1 }

    /// The id of a text.
    func id(of text: UnsafeBufferPointer<UInt8>) -> Int32? {
        let entry = slots[slot(of: text)]
        return entry < 0 ? nil : ids[Int(entry)]
    }

    /// The id of a text.
    func id(of text: some Collection<UInt8>) -> Int32? {
        text.withContiguousStorageIfAvailable { id(of: $0) }
            ?? Array(text).withUnsafeBufferPointer { id(of: $0) }
    }

    /// The bytes of a token's text, or nil for an id that no token has.
    func bytes(of id: Int32) -> ArraySlice<UInt8>? {
        guard id >= 0, Int(id) < entries.count, entries[Int(id)] >= 0 else { return nil }
        let entry = Int(entries[Int(id)])
        return heap[Int(bounds[entry])..<Int(bounds[entry + 1])]
    }

    /// A token's text.
    func token(of id: Int32) -> String? {
        bytes(of: id).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Where the text's entry is, or the free place where it would be.
    private func slot(of text: UnsafeBufferPointer<UInt8>) -> Int {
        // Seeded by process: a file cannot choose texts that collide.
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(text))
        let mask = slots.count - 1
        var slot = hasher.finalize() & mask
        while slots[slot] >= 0, !matches(Int(slots[slot]), text) { slot = (slot + 1) & mask }
        return slot
    }

    private func matches(_ entry: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let range = Int(bounds[entry])..<Int(bounds[entry + 1])
        guard range.count == text.count else { return false }
        return heap.withUnsafeBufferPointer { heap in
            guard let start = heap.baseAddress, let other = text.baseAddress else { return true }
            return memcmp(start + range.lowerBound, other, range.count) == 0
        }
    }

    /// Makes room for `count` entries.
    private mutating func grow(to count: Int) {
        guard count * 2 > slots.count else { return }
        var capacity = 64
        while capacity < count * 2 { capacity *= 2 }
        slots = Array(repeating: -1, count: capacity)
        for entry in ids.indices {
            let range = Int(bounds[entry])..<Int(bounds[entry + 1])
            let free = heap.withUnsafeBufferPointer {
                slot(of: UnsafeBufferPointer(rebasing: $0[range]))
            }
            slots[free] = Int32(entry)
        }
    }
}
