/// The third stage: the words' token ids.
protocol TokenModel: Sendable {
    /// The tokens that a text's pieces come to.
    func appendTokens(of text: PreTokenizedText, to ids: inout [Int32])
}

/// Reads the `model` of tokenizer.json, the long lists of which are in `document`.
///
/// A byte-level vocabulary spells bytes as characters, see `ByteSpelling`.
func makeTokenModel(
    _ section: TokenizerSection, document: TokenizerDocument, vocabulary: Vocabulary,
    isByteLevel: Bool
) throws -> any TokenModel {
    // Files older than the field hold BPE.
    let type = try section.optionalString("type") ?? "BPE"
    if type != "Unigram", !document.scores.isEmpty {
        throw section.failure(
            .malformed, "vocab", "an array", expected: "an object of tokens and ids")
    }
    switch type {
    case "BPE":
        return try BytePairEncoding(
            section, pairs: document.merges, vocabulary: vocabulary, isByteLevel: isByteLevel)
    case "WordPiece": return try WordPiece(section, vocabulary: vocabulary)
    case "Unigram":
        return try Unigram(section, vocabulary: vocabulary, scores: document.scores)
    default:
        throw section.failure(
            .unsupported, "type", "a tokenizer model of an unknown kind",
            expected: "BPE, Unigram or WordPiece", got: type)
    }
}
