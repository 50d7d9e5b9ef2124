/// Joins tokens that go on with a word, and puts a space before every other one.
struct WordPieceDecoding: DecodingStage {
    let prefix: [UInt8]
    /// Whether spaces before punctuation and contractions go.
    let cleansUp: Bool
    private var token: [UInt8] = []
    private var isFirst = true

    init(prefix: [UInt8], cleansUp: Bool) {
        self.prefix = prefix
        self.cleansUp = cleansUp
    }

    mutating func append(_ piece: DecodedPiece, to output: inout [DecodedPiece]) {
        token += piece.bytes
        guard piece.closes else { return }
        if !isFirst {
            if token.starts(with: prefix) {
                token.removeFirst(prefix.count)
            } else {
                token.insert(UInt8(ascii: " "), at: 0)
            }
        }
        isFirst = false
        if cleansUp {
            for replacement in Self.cleanup { token = replacement.apply(to: token) }
        }
        output.append(DecodedPiece(bytes: token))
        token = []
    }

    /// What the reference replaces, in its order, within a token and the space before it.
    private static let cleanup = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
        (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].map { PatternReplacement(pattern: Pattern(literal: $0), content: Array($1.utf8)) }
}
