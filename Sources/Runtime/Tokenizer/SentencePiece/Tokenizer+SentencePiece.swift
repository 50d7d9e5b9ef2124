extension Tokenizer {
    /// Reads a SentencePiece `.model`: byte pairs as Llama 2 has them, or unigrams as T5 and DeBERTa.
    ///
    /// Texts come to the ids that SentencePiece gives them. As in transformers, control pieces are found in
    /// the text, and the special tokens around it are those of the family: `<s> $A` for byte pairs,
    /// `[CLS] $A [SEP]` where there are such pieces, else `$A </s>`.
    ///
    /// - Throws: `.malformed`, `.unsupported`; `.mismatch` where the files beside it contradict it.
    init(
        sentencePiece bytes: UnsafeRawBufferPointer, source: String, beside files: TokenizerSidecars
    ) throws {
        try files.refuseShiftedIDs(source)
        let model = try SentencePieceModel(parsing: bytes, source: source)
        let root = TokenizerSection(json: [:], path: "", source: source)
        let vocabulary = try Vocabulary(
            TokenizerSection(json: [:], path: "pieces", source: source), texts: model.texts,
            ids: model.types.indices.map(Int32.init))
        let family = try SentencePieceFamily(model, vocabulary, files)
        let prependsByPreTokenizer = model.addsPrefix && family.prefixesOnlyTheStart
        try self.init(
            TokenizerPipeline(
                addedTokens: try files.addedTokens(
                    to: model.addedTokens, vocabulary: vocabulary,
                    roles: family.isBert ? ["mask_token": "[MASK]"] : [:]),
                normalizer: try model.normalizer(addsPrefix: !prependsByPreTokenizer),
                preTokenizer: prependsByPreTokenizer
                    ? MetaspacePreTokenizer(scheme: .first, cuts: false) : nil,
                vocabulary: vocabulary, model: model.tokenModel(vocabulary),
                postProcessor: family.postProcessor,
                decodingStages: model.decodingStages),
            root: root)
        beginningOfText = family.beginning
        endOfText = family.end
    }
}

/// Which tokens stand around a text, as the family of models does it.
private struct SentencePieceFamily {
    let isBert: Bool
    let beginning: Int32?
    let end: Int32?
    let postProcessor: PostProcessor
    /// Whether what follows a special token gets no prefix (`legacy: false` of LlamaTokenizer).
    let prefixesOnlyTheStart: Bool

    init(_ model: SentencePieceModel, _ vocabulary: Vocabulary, _ files: TokenizerSidecars) throws {
        func control(_ text: String) -> Int32? {
            vocabulary.id(of: text.utf8).flatMap { model.types[Int($0)] == .control ? $0 : nil }
        }
        prefixesOnlyTheStart = try files.flag("legacy") == false
        if let classification = control("[CLS]"), let separator = control("[SEP]") {
            isBert = true
            (beginning, end) = (classification, separator)
            postProcessor = PostProcessor(before: [classification], after: [separator])
            return
        }
        isBert = false
        beginning = control(model.beginningPiece)
        end = control(model.endPiece)
        let addsBeginning = try files.flag("add_bos_token") ?? (model.kind != .unigram)
        let addsEnd =
            try files.flag("add_eos_token") ?? (model.kind == .unigram && beginning == nil)
        postProcessor = PostProcessor(
            before: addsBeginning ? beginning.map { [$0] } ?? [] : [],
            after: addsEnd ? end.map { [$0] } ?? [] : [])
    }
}

extension SentencePieceModel {
    /// Control pieces and the unknown one are special; user-defined symbols are cut out of the normalized
    /// text, unless the unigram model weighs them.
    fileprivate var addedTokens: [AddedToken] {
        types.indices.compactMap { id in
            switch types[id] {
            case .control, .unknown: return AddedToken(self[id], id: Int32(id), isSpecial: true)
            case .userDefined where kind != .unigram:
                var token = AddedToken(self[id], id: Int32(id), isSpecial: false)
                token.isNormalized = true
                return token
            default: return nil
            }
        }
    }

    fileprivate func normalizer(addsPrefix: Bool) throws -> SentencePieceNormalizer {
        var protected = ByteTrie()
        for id in types.indices where types[id] == .userDefined {
            protected.insert(self[id], value: Int32(id))
        }
        return SentencePieceNormalizer(
            map: try characterMap(), protected: protected,
            addsPrefix: self.addsPrefix && addsPrefix, removesExtraSpaces: removesExtraSpaces,
            escapesSpaces: escapesSpaces)
    }

    fileprivate func tokenModel(_ vocabulary: Vocabulary) -> any TokenModel {
        guard kind == .unigram else {
            return BytePairEncoding(
                vocabulary,
                symbols: SymbolTable(
                    vocabulary, isByteLevel: false, fallsBackToBytes: fallsBackToBytes,
                    unknown: unknown, fusesUnknown: true),
                merges: kind == .bytePairs
                    ? MergeTable(self, vocabulary: vocabulary) : MergeTable(capacity: 0),
                isByteLevel: false, ignoresMerges: false)
        }
        let normal = types.indices.filter { types[$0] == .normal }.map { self.scores[$0] }
        let (lowest, highest) = (normal.min() ?? 0, normal.max() ?? 0)
        var trie = ByteTrie()
        var weights = scores.map(Double.init)
        for id in types.indices {
            switch types[id] {
            case .normal: trie.insert(self[id], value: Int32(id))
            case .userDefined:
                // SentencePiece's bonus, so that a symbol wins over everything that spells it.
                weights[id] = Double(Float(self[id].count) * highest) - 0.1
                trie.insert(self[id], value: Int32(id))
            default: break
            }
        }
        return Unigram(
            trie: trie, scores: weights, lowest: Double(lowest), unknown: unknown,
            byteTokens: fallsBackToBytes ? ByteTokens(of: vocabulary) : nil, precision: .single)
    }

    fileprivate var decodingStages: [any DecodingStage] {
        let unescape = PatternReplacement(
            pattern: Pattern(literal: "▁"), content: [UInt8(ascii: " ")])
        let stages: [any DecodingStage] = [
            ReplaceDecoding(replacement: unescape), ByteFallbackDecoding(), FuseDecoding(),
        ]
        guard addsPrefix || removesExtraSpaces else { return stages }
        let most = removesExtraSpaces ? Int.max : 1
        return stages + [StripDecoding(content: " ", start: most, stop: 0)]
    }
}
