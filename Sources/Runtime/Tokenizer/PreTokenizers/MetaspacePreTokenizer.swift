/// SentencePiece's: spaces become `▁`, a prefix `▁` is added, and words begin with it.
struct MetaspacePreTokenizer: PreTokenizer {
    private let replacement: [UInt8]
    private let scheme: PrependScheme
    private let word: Pattern?

    /// SentencePiece's own mark; `cuts` says whether words are cut apart.
    init(scheme: PrependScheme, cuts: Bool) {
        replacement = SentencePieceNormalizer.mark
        self.scheme = scheme
        word = cuts ? Pattern(literal: "▁") : nil
    }

    init(_ section: TokenizerSection) throws {
        let replacement = String(try section.scalar("replacement"))
        self.replacement = Array(replacement.utf8)
        scheme = try PrependScheme(section)
        word = try section.bool("split", default: true) ? Pattern(literal: replacement) : nil
    }

    func apply(to text: inout PreTokenizedText) {
        text.rewrite { piece, isAtStart, output in
            let isPrefixed = piece.first == UInt8(ascii: " ") || piece.starts(with: replacement)
            if !isPrefixed, scheme == .always || scheme == .first && isAtStart {
                output += replacement
            }
            for byte in piece {
                if byte == UInt8(ascii: " ") { output += replacement } else { output.append(byte) }
            }
        }
        if let word { text.split(.mergedWithNext) { word.forEachMatch(in: $0, $1) } }
    }
}

/// Which pieces get a prefix.
enum PrependScheme: String {
    case always, never
    /// Only the piece that the user's text begins with.
    case first

    /// Reads `prepend_scheme`, or the older `add_prefix_space`.
    init(_ section: TokenizerSection) throws {
        let addsPrefix = try section.bool("add_prefix_space", default: true)
        guard let name = try section.optionalString("prepend_scheme") else {
            self = addsPrefix ? .always : .never
            return
        }
        guard let scheme = PrependScheme(rawValue: name) else {
            throw section.failure(.unsupported, "prepend_scheme", "an unknown scheme", got: name)
        }
        self = scheme
    }
}
