/// GPT-2's pre-tokenizer: words by its expression, if asked for, over a vocabulary of bytes.
///
/// The reference spells each byte of a word as a printable character here, because its vocabulary's
/// keys are text. This one leaves words as they are: the model undoes the spelling once, in the
/// vocabulary (`ByteSpelling`).
struct ByteLevelPreTokenizer: PreTokenizer {
    private static let expression =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    private let addsPrefixSpace: Bool
    private let pattern: Pattern?

    init(_ section: TokenizerSection) throws {
        addsPrefixSpace = try section.bool("add_prefix_space", default: true)
        pattern =
            try section.bool("use_regex", default: true)
            ? Pattern(Self.expression, source: section.source) : nil
    }

    func apply(to text: inout PreTokenizedText) {
        if addsPrefixSpace {
            text.rewrite { piece, _, output in
                if piece.first != UInt8(ascii: " ") { output.append(UInt8(ascii: " ")) }
                output += piece
            }
        }
        if let pattern { text.split(.isolated) { pattern.forEachMatch(in: $0, $1) } }
    }
}
