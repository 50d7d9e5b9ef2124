/// The third stage: the words' token ids.
protocol TokenModel: Sendable {
    /// The tokens that a text's pieces come to.
    func appendTokens(of text: PreTokenizedText, to ids: inout [Int32])
}

/// Reads the `model` of tokenizer.json; `merges` are the texts of its merges, two each.
///
/// A byte-level vocabulary spells bytes as characters, see `ByteSpelling`.
func makeTokenModel(
    _ section: TokenizerSection, merges: TextList, vocabulary: Vocabulary, isByteLevel: Bool
) throws -> any TokenModel {
    // Files older than the field hold BPE.
    let type = try section.optionalString("type") ?? "BPE"
    guard type == "BPE" else {
        throw section.failure(
            .unsupported, "type", "a tokenizer model of an unknown kind", expected: "BPE", got: type
        )
    }
    return try BytePairEncoding(
        section, pairs: merges, vocabulary: vocabulary, isByteLevel: isByteLevel)
}
