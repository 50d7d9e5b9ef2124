extension Tokenizer {
    /// One or two texts as an encoder reads them.
    public struct EncodedTexts: Sendable, Equatable {
        /// The tokens, special ones among them: `[CLS] a [SEP] b [SEP]`.
        public var ids: [Int32]
        /// How many of them are of the first text's type; nil where there is one type.
        public var firstTextCount: Int?
        /// How many tokens were cut off.
        public var cut: Int
    }

    /// The ids of a text, or of a pair, cut to `maximumLength` with the special tokens.
    ///
    /// Of a pair the longer text is cut first, as the `tokenizers` package does by default (`longest_first`).
    public func encode(
        _ text: String, pair: String?, maximumLength: Int
    ) -> EncodedTexts {
        var a = encode(text, addSpecialTokens: false)
        let added = postProcessor.addedCounts
        guard let pair else {
            let count = max(0, min(a.count, maximumLength - added.single))
            let cut = a.count - count
            a.removeLast(cut)
            return EncodedTexts(ids: postProcessor.apply(to: a), firstTextCount: nil, cut: cut)
        }
        var b = encode(pair, addSpecialTokens: false)
        let (first, second) = Self.lengths(
            a.count, b.count, within: max(0, maximumLength - added.pair))
        let cut = a.count - first + b.count - second
        a.removeLast(a.count - first)
        b.removeLast(b.count - second)
        let (ids, firstTextCount) = postProcessor.apply(toPair: a, b)
        return EncodedTexts(ids: ids, firstTextCount: firstTextCount, cut: cut)
    }

    /// What `longest_first` leaves of two texts: the shorter whole if that is enough, or half and half.
    private static func lengths(_ a: Int, _ b: Int, within limit: Int) -> (Int, Int) {
        guard a + b > limit else { return (a, b) }
        let shorter = min(a, b)
        let longer = max(shorter, limit - shorter)
        let (short, long) =
            shorter + longer > limit ? (limit / 2, limit / 2 + limit % 2) : (shorter, longer)
        return a > b ? (long, short) : (short, long)
    }
}
