/// The tokenizer.json of a `gpt2` vocabulary: byte-level BPE.
func byteLevelTokenizer(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    guard let merges = try metadata.merges else {
        throw metadata.failure(.malformed, "merges", "missing")
    }
    var vocabulary = JSON.Object()
    vocabulary.reserveCapacity(metadata.tokens.count)
    for (id, token) in metadata.tokens.enumerated() {
        vocabulary[respelled(token)] = .int(id)
    }
    return try tokenizerDocument(
        metadata, special: ["<|endoftext|>"],
        preTokenizer: try byteLevelPreTokenizer(metadata),
        decoder: [
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        ],
        model: [
            "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false,
            "vocab": .object(vocabulary),
            "merges": .array(try pairs(merges, metadata)),
        ])
}

/// `"a b"` as `["a", "b"]`.
func pairs(_ merges: [JSON], _ metadata: GGUFTokenizerMetadata) throws -> [JSON] {
    try merges.enumerated().map { rank, merge in
        let parts =
            merge.string?.utf8.split(separator: 0x20, omittingEmptySubsequences: false) ?? []
        guard parts.count == 2 else {
            throw metadata.failure(
                .malformed, "merges[\(rank)]", "not a pair of tokens", got: merge.text())
        }
        return .array(parts.map { .string(String(Substring($0))) })
    }
}

/// A token that is not in the spelling of bytes, respelled so that it is.
private func respelled(_ token: String) -> String {
    if token.unicodeScalars.allSatisfy({ ByteSpelling.byte(of: $0.value) != nil }) { return token }
    return String(decoding: ByteSpelling.spell(token.utf8), as: UTF8.self)
}

private func byteLevelPreTokenizer(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    func byteLevel(usesExpression: Bool) -> JSON {
        [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": .bool(usesExpression),
        ]
    }
    let name = try metadata.preTokenizer ?? "default"
    // SmolLM2's own file splits digits first. transformers' conversion does not, and neither does this
    // one: its vocabulary has no token with an ASCII digit and anything else, so only `½` and `٣` differ.
    if ["default", "gpt-2", "smollm", "mpt", "olmo", "jais", "phi-2"].contains(name) {
        return byteLevel(usesExpression: true)
    }
    if ["starcoder", "refact", "command-r", "codeshell"].contains(name) {
        return [
            "type": "Sequence",
            "pretokenizers": [
                ["type": "Digits", "individual_digits": true], byteLevel(usesExpression: true),
            ],
        ]
    }
    guard let expression = ByteLevelExpression.named[name] else {
        throw metadata.failure(
            .unsupported, "pre", "a pre-tokenizer that is not known", got: name)
    }
    return [
        "type": "Sequence",
        "pretokenizers": [
            [
                "type": "Split", "pattern": ["Regex": .string(expression)], "behavior": "Isolated",
                "invert": false,
            ],
            byteLevel(usesExpression: false),
        ],
    ]
}
