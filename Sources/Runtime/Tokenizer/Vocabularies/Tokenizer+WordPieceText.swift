extension Tokenizer {
    /// Reads BERT's vocab.txt: a token a line, whose number is its id.
    ///
    /// How texts are normalized stands in tokenizer_config.json: `do_lower_case`, `strip_accents` and
    /// `tokenize_chinese_chars`.
    ///
    /// - Throws: `.malformed` for a vocabulary without the unknown token, or what is not UTF-8.
    init(
        wordPieceText bytes: UnsafeRawBufferPointer, source: String, beside files: TokenizerSidecars
    ) throws {
        let root = TokenizerSection(json: [:], path: "", source: source)
        guard bytes.count <= Int(Int32.max) else {
            throw LorikeetError(.unsupported, source, "more than 2 GiB of tokens")
        }
        var texts = TextList()
        // What follows the last line feed is no line.
        let lines = bytes.last == 0x0A ? bytes.dropLast() : bytes[...]
        for line in lines.split(separator: 0x0A, omittingEmptySubsequences: false) {
            let line = line.last == 0x0D ? line.dropLast() : line
            guard String(validating: line, as: UTF8.self) != nil else {
                throw root.failure(.malformed, "line \(texts.count + 1)", "not UTF-8")
            }
            texts.append { $0 += line }
        }
        let vocabulary = try Vocabulary(
            TokenizerSection(json: [:], path: "tokens", source: source), texts: texts,
            ids: (0..<Int32(texts.count)).map(\.self))
        func special(_ role: String, _ fallback: String) -> (text: String, id: Int32?) {
            let text = files.role(role) ?? fallback
            return (text, vocabulary.id(of: text.utf8))
        }
        let unknown = special("unk_token", "[UNK]")
        guard let unknownID = unknown.id else {
            throw root.failure(
                .malformed, "tokens", "a vocabulary without the unknown token",
                expected: unknown.text)
        }
        let roles = [
            unknown, special("pad_token", "[PAD]"), special("mask_token", "[MASK]"),
            special("cls_token", "[CLS]"), special("sep_token", "[SEP]"),
        ]
        let own = roles.compactMap { role in
            role.id.map { AddedToken(role.text.utf8, id: $0, isSpecial: true) }
        }
        let lowercases = try files.flag("do_lower_case") ?? true
        try self.init(
            TokenizerPipeline(
                addedTokens: try files.addedTokens(to: own, vocabulary: vocabulary),
                normalizer: BertNormalizer(
                    separatesChinese: try files.flag("tokenize_chinese_chars") ?? true,
                    stripsAccents: try files.flag("strip_accents") ?? lowercases,
                    lowercases: lowercases),
                preTokenizer: BertPreTokenizer(), vocabulary: vocabulary,
                model: WordPiece(vocabulary: vocabulary, prefix: "##".utf8, unknown: unknownID),
                postProcessor: PostProcessor(
                    before: roles[3].id.map { [$0] } ?? [], after: roles[4].id.map { [$0] } ?? []),
                decodingStages: [WordPieceDecoding(prefix: Array("##".utf8), cleansUp: true)]),
            root: root)
        beginningOfText = roles[3].id
        endOfText = roles[4].id
    }
}
