/// A file of tiktoken's: `BASE64 RANK`, a token a line.
struct TiktokenRanks {
    /// The tokens' bytes, in the file's order.
    private(set) var tokens = TextList()
    /// Their ranks, which are their ids.
    private(set) var ids: [Int32] = []

    /// The bytes of the token on a line.
    subscript(index: Int) -> ArraySlice<UInt8> { tokens.heap[tokens[index]] }

    /// Whether a file looks like one: its first line is a token and a rank.
    static func isLikely(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let line = bytes.prefix(1024).prefix { $0 != 0x0A && $0 != 0x0D }
        guard let space = line.lastIndex(of: 0x20) else { return false }
        return space > 0
            && line[..<space].allSatisfy { Base64.value($0) != nil || $0 == Base64.pad }
            && rank(line[(space + 1)...]) != nil
    }

    /// Reads a file; `source` is its path.
    ///
    /// - Throws: `.malformed`, which names the line.
    init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        guard bytes.count <= Int(Int32.max) else {
            throw LorikeetError(.unsupported, source, "more than 2 GiB of tokens")
        }
        var number = 0
        for line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
            number += 1
            let line = line.last == 0x0D ? line.dropLast() : line
            if line.isEmpty { continue }
            guard let space = line.firstIndex(of: 0x20),
                let token = Base64.decode(line[..<space]), !token.isEmpty,
                let rank = Self.rank(line[(space + 1)...])
            else {
                throw LorikeetError(
                    .malformed, source, "line \(number): not a token and its rank",
                    expected: "base64, a space and a number",
                    got: String(decoding: line.prefix(80), as: UTF8.self))
            }
            tokens.append { $0 += token }
            ids.append(rank)
        }
    }

    private static func rank(_ digits: some Collection<UInt8>) -> Int32? {
        guard (1...10).contains(digits.count) else { return nil }
        var value = 0
        for digit in digits {
            guard 0x30...0x39 ~= digit else { return nil }
            value = value * 10 + Int(digit - 0x30)
        }
        return Int32(exactly: value)
    }
}

/// Base64 (RFC 4648), with its padding.
private enum Base64 {
    static let pad = UInt8(ascii: "=")

    /// The six bits of a character.
    static func value(_ character: UInt8) -> UInt32? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// The bytes; nil for what is no base64.
    static func decode(_ text: Slice<UnsafeRawBufferPointer>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        let padding = text.suffix(2).reduce(0) { $0 + ($1 == pad ? 1 : 0) }
        var output: [UInt8] = []
        output.reserveCapacity(text.count / 4 * 3)
        var (bits, count): (UInt32, UInt32) = (0, 0)
        for character in text.dropLast(padding) {
            guard let value = value(character) else { return nil }
            bits = bits << 6 | value
            count += 6
            if count >= 8 {
                count -= 8
                output.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return output
    }
}
