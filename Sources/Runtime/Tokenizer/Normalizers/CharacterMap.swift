/// SentencePiece's "precompiled charsmap": strings and what they become, such as `ﬁ` and `fi`.
///
///     u32 bytes of the double array │ double array │ replacements, each ended by a zero byte
///
/// The double array is darts-clone's (Yata), units of 32 bits: a walk from a node by a byte goes to the
/// unit at `node offset ^ byte`, which belongs to it if its label is that byte. What it leads to lies at
/// its offset; the first unit there is the value of the string that ends at the node, if one does.
struct CharacterMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]
    /// Bit b is set if the character b stays as it is, whatever ASCII follows it.
    private var unchanged: (low: UInt64, high: UInt64) = (0, 0)

    /// Unicode's own longest has 33 bytes; without a bound a small text could become a huge one.
    private static let longestReplacement = 1024

    /// Reads a charsmap; `failure` makes the error about it.
    ///
    /// - Throws: `.malformed` for sizes that contradict each other, or replacements that are not UTF-8.
    init(
        _ blob: some Collection<UInt8>,
        failure: (_ problem: String, _ expected: String?, _ got: String?) -> LorikeetError
    ) throws {
        let blob = Array(blob)
        let size = blob.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard blob.count >= 8, size >= 4, size % 4 == 0, size <= blob.count - 4 else {
            throw failure(
                "a double array that does not fit", "a multiple of 4 up to \(blob.count - 4) bytes",
                "\(size) bytes")
        }
        units = blob.withUnsafeBytes { bytes in
            (0..<size / 4).map {
                UInt32(
                    littleEndian: bytes.loadUnaligned(fromByteOffset: 4 + 4 * $0, as: UInt32.self))
            }
        }
        replacements = Array(blob[(4 + size)...])
        guard String(validating: replacements, as: UTF8.self) != nil else {
            throw failure("replacements that are not UTF-8", nil, nil)
        }
        let longest = replacements.split(separator: 0).lazy.map(\.count).max() ?? 0
        guard longest <= Self.longestReplacement else {
            throw failure(
                "a replacement that is too long", "at most \(Self.longestReplacement) bytes",
                "\(longest)")
        }
        for byte in UInt8(0)..<128 where staysUnchanged(byte) {
            if byte < 64 { unchanged.low |= 1 << byte } else { unchanged.high |= 1 << (byte - 64) }
        }
    }

    /// A string of the map that a text begins with: how long it is, and what it becomes.
    struct Match {
        var length: Int
        var replacement: ArraySlice<UInt8>
    }

    /// The longest string of the map that `text` has at `start`.
    func longest(in text: UnsafeBufferPointer<UInt8>, at start: Int) -> Match? {
        match(text, start, text.count) { _ in true }
    }

    /// The shortest string of the map that `text[range]` begins with.
    func shortest(in text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Match? {
        match(text, range.lowerBound, range.upperBound) { _ in false }
    }

    /// Whether the map has nothing that begins with the byte at `position` and goes on with what follows.
    @inline(__always)
    func leavesUnchanged(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> Bool {
        let byte = text[position]
        guard byte < 0x80, position + 1 == text.count || text[position + 1] < 0x80 else {
            return false
        }
        return byte < 64
            ? unchanged.low >> UInt64(byte) & 1 == 1 : unchanged.high >> UInt64(byte &- 64) & 1 == 1
    }

    /// Walks from `start`; `goesOn` says whether a longer match than this one is wanted.
    private func match(
        _ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int, goesOn: (Int) -> Bool
    ) -> Match? {
        var found: Match?
        var node = Self.offset(units[0])
        var position = start
        while position < end, let next = step(node, text[position]) {
            node = next.node
            position += 1
            // Strings end where scalars do, or what is left of the text would be no UTF-8.
            guard next.isEnd, position == text.count || text[position] & 0xC0 != 0x80 else {
                continue
            }
            guard let replacement = replacement(at: node) else { continue }
            found = Match(length: position - start, replacement: replacement)
            if !goesOn(position - start) { break }
        }
        return found
    }

    /// Where the edge from `node` by `byte` leads, and whether a string ends there.
    @inline(__always)
    private func step(_ node: Int, _ byte: UInt8) -> (node: Int, isEnd: Bool)? {
        let index = node ^ Int(byte)
        // A lying file's offsets lead anywhere.
        guard index < units.count else { return nil }
        let unit = units[index]
        guard unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
        return (index ^ Self.offset(unit), unit >> 8 & 1 == 1)
    }

    private static func offset(_ unit: UInt32) -> Int {
        Int(unit >> 10) << Int((unit & 1 << 9) >> 6)
    }

    /// The text that the value at `node` points to; nil where it points nowhere.
    private func replacement(at node: Int) -> ArraySlice<UInt8>? {
        guard node < units.count else { return nil }
        let start = Int(units[node] & ~(1 << 31))
        // Within a scalar it would be no UTF-8.
        guard start < replacements.count, replacements[start] & 0xC0 != 0x80 else { return nil }
        let rest = replacements[start...]
        return rest[..<(rest.firstIndex(of: 0) ?? rest.endIndex)]
    }

    private func staysUnchanged(_ byte: UInt8) -> Bool {
        guard let next = step(Self.offset(units[0]), byte) else { return true }
        return !next.isEnd && (UInt8(0)..<128).allSatisfy { step(next.node, $0) == nil }
    }
}
