import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Ways through a constraint: at random, and along a given text.
enum ConstraintWalks {
    /// A tokenizer, and its tokens as constraints see them.
    struct Words: Sendable {
        let tokenizer: Tokenizer
        let vocabulary: ConstraintVocabulary
        let end: Int32
        /// The ids by their text, of those that are whole characters.
        let ids: [String: Int32]
    }

    /// SmolLM2's; nil where the model is not at hand.
    static let smolLM2: Words? = Fixtures.quantizedModel.flatMap { folder in
        (try? Tokenizer(folder: folder)).map(words)
    }

    /// Single bytes only: every text has one tokenization.
    static let bytes: Words? =
        (try? Tokenizer(json: ByteTokenizer.json(added: ["<end>"]), source: "test"))
        .map(words)

    /// The tokens of a tokenizer.
    static func words(_ tokenizer: Tokenizer) -> Words {
        let end = tokenizer.endOfText ?? tokenizer.id(of: "<end>") ?? 0
        var ids: [String: Int32] = [:]
        for id in 0..<Int32(tokenizer.idBound) where !tokenizer.isSpecial(id) {
            let text = tokenizer.decode([id])
            if !text.isEmpty, !text.unicodeScalars.contains("\u{FFFD}") { ids[text] = id }
        }
        return Words(
            tokenizer: tokenizer,
            vocabulary: ConstraintVocabulary(
                tokenizer, endTokens: [end], count: tokenizer.idBound + 7),
            end: end, ids: ids)
    }

    /// The text of a walk at random; nil when it does not come to an end.
    static func random(
        _ constraint: any TokenConstraint, _ words: Words, seed: UInt64
    ) -> String? {
        var generator = SeededGenerator(seed: seed)
        let mask = TokenMask(count: words.vocabulary.count)
        var tokens: [Int32] = []
        let marks = ["\"", "}", "]", ":", ",", "0", "{", "[", "c", " ", "\n"]
            .compactMap { words.ids[$0] }
        while tokens.count < 3000 {
            constraint.writeAllowedTokens(to: mask)
            #expect(mask.contains(words.end) == constraint.isComplete)
            let isLate = tokens.count > 150
            if constraint.isComplete, isLate || generator.integer(below: 3) == 0 {
                return words.tokenizer.decode(tokens)
            }
            // Plain words are thousands against one quote: marks get a chance of their own.
            let allowedMarks = marks.filter(mask.contains)
            let token: Int32
            if let first = allowedMarks.first, isLate {
                token =
                    generator.integer(below: 4) == 0
                    ? allowedMarks[generator.integer(below: allowedMarks.count)] : first
            } else if !allowedMarks.isEmpty, generator.integer(below: 3) == 0 {
                token = allowedMarks[generator.integer(below: allowedMarks.count)]
            } else {
                let allowed = mask.tokens.filter { $0 != words.end }
                guard !allowed.isEmpty else { return words.tokenizer.decode(tokens) }
                token = allowed[generator.integer(below: allowed.count)]
            }
            constraint.accept(token)
            tokens.append(token)
        }
        return nil
    }

    /// Where along `tokens` the constraint refuses one; nil when it takes all and the text may end.
    static func refusal(
        _ constraint: any TokenConstraint, _ words: Words, _ tokens: [Int32]
    ) -> String? {
        let mask = TokenMask(count: words.vocabulary.count)
        for (index, token) in tokens.enumerated() {
            constraint.writeAllowedTokens(to: mask)
            guard mask.contains(token) else {
                return words.tokenizer.decode(tokens[...index]) + "⟵"
            }
            constraint.accept(token)
        }
        return constraint.isComplete ? nil : words.tokenizer.decode(tokens) + "⟵ no end"
    }

    /// Tokenizations of a text: the tokenizer's own, and some that take any token that fits.
    static func tokenizations(_ text: String, _ words: Words, count: Int) -> [[Int32]] {
        var generator = SeededGenerator(seed: 11)
        let scalars = Array(text.unicodeScalars)
        func cut() -> [Int32]? {
            var tokens: [Int32] = []
            var start = 0
            while start < scalars.count {
                let fits = (1...12).filter { start + $0 <= scalars.count }.compactMap { length in
                    words.ids[
                        String(String.UnicodeScalarView(scalars[start..<start + length]))
                    ].map { ($0, length) }
                }
                guard !fits.isEmpty else {
                    // A character that is several tokens.
                    tokens += words.tokenizer.encode(
                        String(scalars[start]), addSpecialTokens: false)
                    start += 1
                    continue
                }
                let (token, length) = fits[generator.integer(below: fits.count)]
                tokens.append(token)
                start += length
            }
            return tokens
        }
        return [words.tokenizer.encode(text, addSpecialTokens: false)]
            + (0..<count).compactMap { _ in cut() }
    }
}
