/// The first stage: rewrites the text between added tokens.
protocol Normalizer: Sendable {
    /// Rewrites `text`, which is valid UTF-8 and stays so.
    func normalize(_ text: inout [UInt8])
}

/// Reads a `normalizer` of tokenizer.json.
func makeNormalizer(_ section: TokenizerSection) throws -> any Normalizer {
    switch try section.type() {
    case "Sequence":
        return NormalizerSequence(stages: try section.sections("normalizers").map(makeNormalizer))
    case "NFC": return UnicodeNormalizer(form: .nfc)
    case "NFD": return UnicodeNormalizer(form: .nfd)
    case "NFKC": return UnicodeNormalizer(form: .nfkc)
    case "NFKD": return UnicodeNormalizer(form: .nfkd)
    case "Precompiled": return try PrecompiledNormalizer(section)
    case "BertNormalizer": return try BertNormalizer(section)
    case "Nmt": return NmtNormalizer()
    case "Lowercase": return LowercaseNormalizer()
    case "StripAccents": return StripAccentsNormalizer()
    case "Strip":
        return StripNormalizer(
            left: try section.bool("strip_left", default: true),
            right: try section.bool("strip_right", default: true))
    case "Prepend": return PrependNormalizer(prefix: Array(try section.string("prepend").utf8))
    case "Replace":
        return ReplaceNormalizer(
            replacement: PatternReplacement(
                pattern: try section.pattern(), content: Array(try section.string("content").utf8)))
    default: throw try section.unknownType("normalizer")
    }
}

/// One after the other.
struct NormalizerSequence: Normalizer {
    let stages: [any Normalizer]

    func normalize(_ text: inout [UInt8]) {
        for stage in stages { stage.normalize(&text) }
    }
}
