/// A tokenizer's tokens as the bytes that they decode to, arranged for asking which of them a grammar
/// allows.
///
/// Made once for a model, in some tenths of a second, and shared by all constraints. Special tokens are
/// left out: they are no text. Tokens of plain text, which may stand anywhere in a JSON string, are told
/// apart from the rest, so that inside a string only the rest is tried one by one.
public final class ConstraintVocabulary: Sendable {
    /// How many tokens a mask covers: the model's logits.
    public let count: Int
    /// The tokens that end an answer.
    public let endTokens: Set<Int32>
    /// All tokens.
    let trie: TokenTrie
    /// Those that are no plain text.
    let specialTrie: TokenTrie
    /// The plain tokens, as a mask's words.
    let plain: [UInt64]
    /// The plain tokens by their number of characters, the fewest first.
    private let plainTokens: [(token: Int32, length: Int)]
    /// The most characters that a plain token has.
    let longestPlain: Int
    private let texts: [ArraySlice<UInt8>]

    /// Takes the tokens of `tokenizer`.
    ///
    /// - Parameters:
    ///   - tokenizer: whose tokens.
    ///   - endTokens: the tokens that end an answer.
    ///   - count: the number of the model's logits; tokens past them are left out.
    public init(_ tokenizer: Tokenizer, endTokens: Set<Int32>, count: Int) {
        self.count = count
        self.endTokens = endTokens.filter { $0 >= 0 && $0 < count }
        var texts = [ArraySlice<UInt8>](repeating: [], count: count)
        var entries: [(token: Int32, bytes: [UInt8])] = []
        let text = tokenizer.textReader()
        for token in 0..<Int32(min(tokenizer.idBound, count))
        where !tokenizer.isSpecial(token) && !endTokens.contains(token) {
            guard let bytes = text(token), !bytes.isEmpty, bytes.count <= Self.longestToken else {
                continue
            }
            texts[Int(token)] = bytes[...]
            entries.append((token, bytes))
        }
        self.texts = texts
        entries.sort { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        trie = TokenTrie(sorted: entries)
        specialTrie = TokenTrie(sorted: entries.filter { $0.bytes.plainLength == nil })

        let mask = TokenMask(count: count)
        plainTokens = entries.compactMap { entry in
            entry.bytes.plainLength.map { (entry.token, $0) }
        }.sorted { $0.length < $1.length }
        for entry in plainTokens { mask.insert(entry.token) }
        plain = mask.words
        longestPlain = plainTokens.last?.length ?? 0
    }

    // A token longer than this is none that a model writes; the walk's depth is bounded by it.
    private static let longestToken = 1024

    /// The bytes that a token decodes to; empty for a special token, or none.
    func bytes(of token: Int32) -> ArraySlice<UInt8> {
        token >= 0 && token < texts.count ? texts[Int(token)] : []
    }

    /// Allows the plain tokens of at most `length` characters.
    func allowPlain(upTo length: Int, in words: inout [UInt64]) {
        guard length < longestPlain else {
            for index in words.indices { words[index] |= plain[index] }
            return
        }
        for (token, count) in plainTokens {
            guard count <= length else { break }
            words[Int(token) / 64] |= 1 << UInt64(token % 64)
        }
    }
}

extension [UInt8] {
    /// The number of characters of whole UTF-8 that needs no escape in a JSON string; nil for anything else.
    fileprivate var plainLength: Int? {
        guard let text = String(validating: self, as: UTF8.self),
            !contains(where: { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") })
        else { return nil }
        return text.unicodeScalars.count
    }
}
