#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Token texts and their ids, both ways; texts are bytes, so canonically equivalent tokens stay apart.
struct Vocabulary: Sendable {
    private var texts: TextList
    /// Entry i's id.
    private var ids: [Int32]
    /// Id to entry, -1 where there is none.
    private var entries: [Int32] = []
    /// Open addressing over the entries, -1 where free; a power of two, at most half full.
    private var slots: [Int32] = []

    /// Takes the tokens of `vocab`, an object from texts to ids or a list of texts with scores; `section`
    /// is the model.
    init(_ section: TokenizerSection, of document: TokenizerDocument) throws {
        guard let vocabulary = section.section("vocab") else {
            throw section.failure(.malformed, "vocab", "a tokenizer without vocabulary")
        }
        guard document.tokens.count > 0 else {
            throw vocabulary.failure(.malformed, nil, "not a list of tokens", got: "no token")
        }
        try self.init(vocabulary, texts: document.tokens, ids: document.ids)
    }

    /// Tokens and the id of each; `section` is where they come from.
    init(_ section: TokenizerSection, texts: TextList, ids: [Int32]) throws {
        self.texts = texts
        self.ids = ids
        makeRoom(for: ids.count)
        for entry in ids.indices { try enter(entry, of: ids.count, section: section) }
    }

    /// Adds a text that is not there yet; `count` is the number of tokens that the file has in all.
    mutating func insert(
        _ text: UnsafeBufferPointer<UInt8>, id: Int32, of count: Int, section: TokenizerSection
    ) throws {
        guard texts.heap.count + text.count <= Int(Int32.max) else {
            throw section.failure(.unsupported, nil, "more than 2 GiB of tokens")
        }
        texts.append { $0 += text }
        ids.append(id)
        if slots.count < 2 * ids.count {
            makeRoom(for: 2 * ids.count)
            for entry in ids.indices.dropLast() { slots[slot(of: entry)] = Int32(entry) }
        }
        try enter(ids.count - 1, of: count, section: section)
    }

    /// Makes an entry found by its text and its id.
    private mutating func enter(_ entry: Int, of count: Int, section: TokenizerSection) throws {
        func failure(_ problem: String, got: String? = nil) -> LorikeetError {
            let text = String(decoding: texts.heap[texts[entry]], as: UTF8.self)
            return section.failure(.malformed, text, problem, got: got)
        }
        let id = Int(ids[entry])
        // Gaps are legal; a table for an id far past the tokens would be a lying file's to size.
        guard id < count * 16 + 65_536 else {
            throw failure("an id far past the vocabulary's size", got: "\(id)")
        }
        if id >= entries.count {
            entries += repeatElement(-1, count: max(id + 1, count) - entries.count)
        }
        guard entries[id] < 0 else {
            throw failure(
                "the id \(id) is that of \(String(reflecting: token(of: Int32(id)) ?? "")) already")
        }
        let slot = slot(of: entry)
        guard slots[slot] < 0 else { throw failure("the token is repeated") }
        slots[slot] = Int32(entry)
        entries[id] = Int32(entry)
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
        return texts.heap[texts[entry]]
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

    /// Where the entry is, or would be.
    private func slot(of entry: Int) -> Int {
        texts.heap.withUnsafeBufferPointer {
            slot(of: UnsafeBufferPointer(rebasing: $0[texts[entry]]))
        }
    }

    private func matches(_ entry: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
        let range = texts[entry]
        guard range.count == text.count else { return false }
        return texts.heap.withUnsafeBufferPointer { heap in
            guard let start = heap.baseAddress, let other = text.baseAddress else { return true }
            return memcmp(start + range.lowerBound, other, range.count) == 0
        }
    }

    /// Frees all slots, and has enough for `count` entries.
    private mutating func makeRoom(for count: Int) {
        var capacity = 64
        while capacity < count * 2 { capacity *= 2 }
        slots = Array(repeating: -1, count: capacity)
    }
}
