/// The second stage: cuts text into the words that the model takes one by one.
protocol PreTokenizer: Sendable {
    /// Cuts the pieces of `text` further, or rewrites them.
    func apply(to text: inout PreTokenizedText)
}

/// Reads a `pre_tokenizer` of tokenizer.json; a `ByteLevel` tells the vocabulary's spelling, see there.
func makePreTokenizer(_ section: TokenizerSection) throws -> any PreTokenizer {
    switch try section.type() {
    case "Sequence":
        let sections = try section.sections("pretokenizers")
        // Bytes are spelled as characters only once, after everything else has seen the text.
        for inner in sections.dropLast() where inner.json["type"]?.string == "ByteLevel" {
            throw inner.failure(.unsupported, nil, "a ByteLevel before another pre-tokenizer")
        }
        return PreTokenizerSequence(stages: try sections.map(makePreTokenizer))
    case "ByteLevel": return try ByteLevelPreTokenizer(section)
    case "Metaspace": return try MetaspacePreTokenizer(section)
    case "Split": return try SplitPreTokenizer(section)
    case "BertPreTokenizer": return BertPreTokenizer()
    case "CharDelimiterSplit": return try ScalarPreTokenizer.delimiter(section)
    case "Digits": return try ScalarPreTokenizer.digits(section)
    case "Punctuation": return try ScalarPreTokenizer.punctuation(section)
    case "WhitespaceSplit": return ScalarPreTokenizer.whitespace
    case "Whitespace": return try SplitPreTokenizer.words(section)
    default: throw try section.unknownType("pre-tokenizer")
    }
}

/// One after the other.
struct PreTokenizerSequence: PreTokenizer {
    let stages: [any PreTokenizer]

    func apply(to text: inout PreTokenizedText) {
        for stage in stages { stage.apply(to: &text) }
    }
}
