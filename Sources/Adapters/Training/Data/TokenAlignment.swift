import LorikeetRuntime

/// Which tokens of a text lie in which of its bytes.
///
/// Decoding the tokens one by one says where each begins. Tokenizers of the SentencePiece kind give the text
/// back with a space more or less, so positions are counted in bytes other than space when the plain
/// ones do not fit.
struct TokenAlignment {
    /// starts[i]: bytes before token i; one more element for the end.
    private let starts: [Int]
    /// For a text position in bytes, the position as `starts` counts.
    private let positions: [Int]?

    init(_ ids: [Int32], of text: String, _ tokenizer: Tokenizer, source: String) throws {
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: false)
        var pieces = ids.map { decoder.append($0) }
        let rest = decoder.finish()
        if let last = pieces.indices.last { pieces[last] += rest }
        if pieces.joined().utf8.elementsEqual(text.utf8) {
            starts = Self.sums(pieces.map(\.utf8.count))
            positions = nil
            return
        }
        let letters = { (text: String) in text.utf8.filter { !Self.isSpace($0) } }
        guard letters(pieces.joined()) == letters(text) else {
            throw LorikeetError(
                .unsupported, source,
                "the tokenizer does not give back the text it was given, so the assistant's turns cannot be found",
                advice: "Use prompt and completion rows.")
        }
        starts = Self.sums(pieces.map { letters($0).count })
        positions = Self.sums(text.utf8.map { Self.isSpace($0) ? 0 : 1 })
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0D).contains(byte)
    }

    /// The sums of the counts before each: [0, a, a + b, …].
    private static func sums(_ counts: [Int]) -> [Int] {
        counts.reduce(into: [0]) { sums, count in sums.append((sums.last ?? 0) + count) }
    }

    /// The tokens that begin in `bytes` of the text.
    func tokens(in bytes: Range<Int>) -> Range<Int> {
        let lower = positions?[bytes.lowerBound] ?? bytes.lowerBound
        let upper = positions?[bytes.upperBound] ?? bytes.upperBound
        // A character of several tokens is given out with its last one, so those before it share its
        // start. Where they begin the span, all of them belong to it.
        let begins = starts.dropLast()
        let first = begins.firstIndex { $0 >= lower } ?? begins.endIndex
        let end = begins.firstIndex { $0 >= upper } ?? begins.endIndex
        return first..<max(first, end)
    }
}
