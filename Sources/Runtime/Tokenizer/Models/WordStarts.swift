/// Where a text of SentencePiece's can be cut before it is merged, with the same tokens as a result.
///
/// If no token has a `▁` behind another character, no merge reaches over such a place, and the words may be
/// merged one by one: a text of a megabyte is then no single word of a million symbols.
struct WordStarts: Sendable {
    private static let mark = SentencePieceNormalizer.mark

    /// Nil unless the vocabulary allows it.
    init?(of vocabulary: Vocabulary, symbols: SymbolTable) {
        // An unknown run must end there too, and a character's spelling not depend on its place.
        guard symbols.ignoresPlace, vocabulary.id(of: Self.mark) != nil else { return nil }
        for id in 0..<Int32(vocabulary.idBound) {
            guard let token = vocabulary.bytes(of: id) else { continue }
            let reaches = token.withUnsafeBufferPointer { Self.start(in: $0, after: 0) != nil }
            if reaches { return nil }
        }
    }

    /// Visits the words of `text`.
    func forEachWord(
        of text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) {
        var start = 0
        while let next = Self.start(in: text, after: start) {
            body(UnsafeBufferPointer(rebasing: text[start..<next]))
            start = next
        }
        body(UnsafeBufferPointer(rebasing: text[start...]))
    }

    /// The first place after `start` with a `▁` that follows another character.
    private static func start(in text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int? {
        var position = start + 1
        var isAfterMark = hasMark(text, at: start)
        while position < text.count {
            guard text[position] == mark[0], hasMark(text, at: position) else {
                // Within the mark before it, it is still the mark.
                if text[position] & 0xC0 != 0x80 { isAfterMark = false }
                position += 1
                continue
            }
            if !isAfterMark { return position }
            position += mark.count
        }
        return nil
    }

    private static func hasMark(_ text: UnsafeBufferPointer<UInt8>, at position: Int) -> Bool {
        position + mark.count <= text.count
            && (0..<mark.count).allSatisfy { text[position + $0] == mark[$0] }
    }
}
