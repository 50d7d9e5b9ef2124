import Foundation

/// The tokenizer.json of a `t5` vocabulary: SentencePiece's unigrams.
func unigramTokenizer(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    let scores = try metadata.scores()
    let space: JSON = ["String": " "]
    var normalizers: [JSON] = []
    if let charsmap = try metadata.charsmap(), !charsmap.isEmpty {
        _ = try CharacterMap(charsmap) {
            metadata.failure(.malformed, "precompiled_charsmap", $0, expected: $1, got: $2)
        }
        normalizers.append([
            "type": "Precompiled",
            "precompiled_charsmap": .string(Data(charsmap).base64EncodedString()),
        ])
    }
    if try metadata.flag("remove_extra_whitespaces", default: true) {
        normalizers.append(["type": "Replace", "pattern": ["Regex": "\\A +| +\\z"], "content": ""])
        normalizers.append(["type": "Replace", "pattern": ["Regex": " {2,}"], "content": " "])
    }
    let addsPrefix = try metadata.flag("add_space_prefix", default: true)
    if addsPrefix { normalizers.append(["type": "Prepend", "prepend": "▁"]) }
    normalizers.append(["type": "Replace", "pattern": space, "content": "▁"])
    let byteTokens = Set((UInt8.min...UInt8.max).map(ByteTokens.spelling))
    return try tokenizerDocument(
        metadata, special: ["<unk>", "<pad>", "</s>"], preTokenizer: .null,
        decoder: sentencePieceDecoder(addsPrefix: addsPrefix),
        normalizer: ["type": "Sequence", "normalizers": .array(normalizers)],
        model: [
            "type": "Unigram",
            "unk_id": try metadata.unknown().map { .int($0) } ?? .null,
            "vocab": .array(
                zip(metadata.tokens, scores).map { [.string($0), .double($1)] }),
            "byte_fallback": .bool(!byteTokens.isDisjoint(with: metadata.tokens)),
        ])
}
