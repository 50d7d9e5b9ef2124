/// The tokenizer.json of a `bert` vocabulary: WordPiece.
///
/// llama.cpp's writer marks what begins a word with `▁` and leaves what goes on bare; WordPiece marks what
/// goes on, with `##`.
func wordPieceTokenizer(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    guard let unknown = try metadata.unknown() ?? metadata.tokens.firstIndex(of: "[UNK]") else {
        throw metadata.failure(.malformed, "unknown_token_id", "missing")
    }
    var vocabulary = JSON.Object()
    vocabulary.reserveCapacity(metadata.tokens.count)
    for (id, token) in metadata.tokens.enumerated() {
        let isMarker = token.hasPrefix("[") && token.hasSuffix("]") && token.count > 2
        let spelled =
            if metadata.isControl(id) || id == unknown || isMarker {
                token
            } else if token.unicodeScalars.first == "▁" {
                String(token.unicodeScalars.dropFirst())
            } else {
                "##" + token
            }
        guard vocabulary.updateValue(.int(id), forKey: spelled) == nil else {
            throw metadata.failure(
                .malformed, "tokens[\(id)]", "the token is repeated", got: spelled)
        }
    }
    return try tokenizerDocument(
        metadata, special: ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
        preTokenizer: ["type": "BertPreTokenizer"],
        decoder: ["type": "WordPiece", "prefix": "##", "cleanup": true],
        normalizer: [
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": nil, "lowercase": true,
        ],
        model: [
            "type": "WordPiece", "unk_token": .string(metadata.tokens[unknown]),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": .int(WordPiece.longestWord),
            "vocab": .object(vocabulary),
        ])
}
