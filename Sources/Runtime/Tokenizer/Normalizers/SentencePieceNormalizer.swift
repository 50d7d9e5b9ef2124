/// SentencePiece's normalizer, all of its rules in one pass.
///
/// The charsmap takes the longest string it has at each place; spaces at the ends go and runs of them
/// become one; a space is put before the text; and spaces are written `▁`.
struct SentencePieceNormalizer: Normalizer {
    /// Nil where characters stay as they are.
    var map: CharacterMap?
    /// Strings that no rule touches: the user-defined symbols.
    var protected = ByteTrie()
    var addsPrefix = true
    var removesExtraSpaces = true
    var escapesSpaces = true

    /// U+2581, which stands for a space.
    static let mark: [UInt8] = Array("▁".utf8)

    private var space: [UInt8] { escapesSpaces ? Self.mark : [UInt8(ascii: " ")] }

    func normalize(_ text: inout [UInt8]) {
        text = text.withUnsafeBufferPointer(normalized)
    }

    private func normalized(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
        let space = space
        var output: [UInt8] = []
        output.reserveCapacity(text.count + text.count / 2)
        var isAfterSpace = removesExtraSpaces
        var isEmpty = true
        var position = 0
        while position < text.count {
            var replacement: ArraySlice<UInt8>
            let byte = text[position]
            if byte != 0x20, map?.leavesUnchanged(text, at: position) ?? (byte < 0x80),
                !isProtected(byte)
            {
                if isEmpty { begin(&output, &isEmpty) }
                output.append(byte)
                isAfterSpace = false
                position += 1
                continue
            }
            if let symbol = protected.longest(in: text, at: position) {
                replacement = ArraySlice(text[position..<symbol.end])
                position = symbol.end
            } else if let match = map?.longest(in: text, at: position) {
                replacement = match.replacement
                position += match.length
            } else {
                let end = position + text.scalarLength(at: position)
                replacement = ArraySlice(text[position..<end])
                position = end
            }
            // A lone space before the text; one that something longer begins with goes below.
            if isEmpty, removesExtraSpaces, replacement.elementsEqual([0x20]) { continue }
            if isEmpty { begin(&output, &isEmpty) }
            while isAfterSpace, replacement.first == 0x20 { replacement.removeFirst() }
            guard let last = replacement.last else { continue }
            for byte in replacement {
                if byte == 0x20 { output += space } else { output.append(byte) }
            }
            isAfterSpace = removesExtraSpaces && last == 0x20
        }
        if removesExtraSpaces {
            while output.suffix(space.count).elementsEqual(space) { output.removeLast(space.count) }
        }
        return output
    }

    private func begin(_ output: inout [UInt8], _ isEmpty: inout Bool) {
        isEmpty = false
        if addsPrefix { output += space }
    }

    @inline(__always)
    private func isProtected(_ byte: UInt8) -> Bool {
        protected.edge(from: ByteTrie.root, by: byte).node >= 0
    }
}
