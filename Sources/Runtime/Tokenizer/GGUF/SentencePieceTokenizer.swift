/// The tokenizer.json of a `llama` vocabulary: SentencePiece BPE with byte fallback.
func sentencePieceTokenizer(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    let addsPrefix = try metadata.flag("add_space_prefix", default: true)
    // As SentencePiece does it: runs of spaces are such tokens of Gemma's. A prefix would be put before them too.
    let cutsNormalized = !addsPrefix
    var vocabulary = JSON.Object()
    vocabulary.reserveCapacity(metadata.tokens.count)
    for (id, token) in metadata.tokens.enumerated() { vocabulary[token] = .int(id) }
    let merges =
        try metadata.merges.map { try pairs($0, metadata) }
        ?? impliedMerges(vocabulary, metadata) { cutsNormalized && metadata.isUserDefined($0) }

    // As llama.cpp and SentencePiece do it: a prefix before any text, even one that begins with a space.
    let prefix: [JSON] = addsPrefix ? [["type": "Prepend", "prepend": "▁"]] : []
    let normalizer: JSON = [
        "type": "Sequence",
        "normalizers": .array(
            prefix + [["type": "Replace", "pattern": ["String": " "], "content": "▁"]]),
    ]
    return try tokenizerDocument(
        metadata, special: ["<unk>", "<s>", "</s>"], cutsNormalized: cutsNormalized,
        preTokenizer: .null,
        decoder: sentencePieceDecoder(addsPrefix: addsPrefix),
        normalizer: normalizer,
        model: [
            "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
            "end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": true,
            "ignore_merges": false,
            "vocab": .object(vocabulary),
            "merges": .array(merges),
        ])
}

/// Spaces from `▁`, bytes from byte tokens, and no prefix.
func sentencePieceDecoder(addsPrefix: Bool) -> JSON {
    var decoders: [JSON] = [
        ["type": "Replace", "pattern": ["String": "▁"], "content": " "], ["type": "ByteFallback"],
        ["type": "Fuse"],
    ]
    if addsPrefix { decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
    return ["type": "Sequence", "decoders": .array(decoders)]
}

/// The merges that a vocabulary with scores stands for: each way to cut a token into two tokens, best score
/// first (transformers' `generate_merges`).
///
/// - isLeftOut: the tokens that none makes.
private func impliedMerges(
    _ vocabulary: JSON.Object, _ metadata: GGUFTokenizerMetadata, isLeftOut: (Int) -> Bool
) throws -> [JSON] {
    /// Past it a token would cost quadratic time; real ones have a few dozen characters.
    let longestToken = 512
    struct Merge {
        var score: Double
        var left: (text: String, id: Int32, count: Int)
        var right: (text: String, id: Int32, count: Int)
    }
    var texts = TextList()
    for key in vocabulary.keys { texts.append { $0 += key.utf8 } }
    let ids = try Vocabulary(
        TokenizerSection(json: nil, path: "tokenizer.ggml.tokens", source: metadata.source),
        texts: texts, ids: vocabulary.values.compactMap(\.int).map(Int32.init))
    let scores = try metadata.scores()
    var merges: [Merge] = []
    for (token, id) in vocabulary {
        guard let id = id.int, token.utf8.count <= longestToken, !isLeftOut(id) else { continue }
        var local: [Merge] = []
        let scalars = token.unicodeScalars
        for (leftCount, cut) in scalars.indices.enumerated().dropFirst() {
            let (left, right) = (String(scalars[..<cut]), String(scalars[cut...]))
            guard let leftID = ids.id(of: left.utf8), let rightID = ids.id(of: right.utf8) else {
                continue
            }
            local.append(
                Merge(
                    score: scores[id], left: (left, leftID, leftCount),
                    right: (right, rightID, scalars.count - leftCount)))
        }
        // Stable sorts: what is equal stays in the order of the vocabulary.
        merges += local.sorted { ($0.left.id, $0.right.id) < ($1.left.id, $1.right.id) }
    }
    merges.sort {
        ($0.score, $0.left.count, $0.right.count) > ($1.score, $1.left.count, $1.right.count)
    }
    return merges.map { [.string($0.left.text), .string($0.right.text)] }
}
