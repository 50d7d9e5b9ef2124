/// Cuts at every scalar of a set: digits, punctuation, white space.
struct ScalarPreTokenizer: PreTokenizer {
    private let delimiters: ScalarSet
    private let behavior: SplitBehavior

    static func digits(_ section: TokenizerSection) throws -> ScalarPreTokenizer {
        ScalarPreTokenizer(
            delimiters: ScalarSet([.categories(Unicode.GeneralCategory.numberMask)]),
            behavior: try section.bool("individual_digits", default: false)
                ? .isolated : .contiguous)
    }

    static func punctuation(_ section: TokenizerSection) throws -> ScalarPreTokenizer {
        ScalarPreTokenizer(
            delimiters: .punctuation, behavior: try SplitBehavior(section, default: .isolated))
    }

    /// Cuts at one character, which is dropped.
    static func delimiter(_ section: TokenizerSection) throws -> ScalarPreTokenizer {
        let value = try section.scalar("delimiter").value
        return ScalarPreTokenizer(
            delimiters: ScalarSet([.range(value...value)]), behavior: .removed)
    }

    static var whitespace: ScalarPreTokenizer {
        ScalarPreTokenizer(delimiters: ScalarSet([.whitespace(true)]), behavior: .removed)
    }

    func apply(to text: inout PreTokenizedText) {
        text.split(behavior) { buffer, report in
            var position = 0
            while position < buffer.count {
                let (value, length) = buffer.scalar(at: position)
                if delimiters.contains(value) { report(position..<position + length) }
                position += length
            }
        }
    }
}

extension ScalarSet {
    /// Punctuation; of ASCII in Rust's sense, symbols like `$` and `+` included.
    static let punctuation = ScalarSet(
        [0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E].map { .range($0) }
            + [.categoriesOfUnicode8(Unicode.GeneralCategory.punctuationMask)])
}
