extension Tokenizer {
    /// Reads tiktoken's ranks, as Llama 3's `tokenizer.model` has them: a token in base64 and its rank, one a
    /// line.
    ///
    /// The rank is the token's id and says how early it is merged. How text is cut into words and the
    /// special tokens are no part of the file: the expression is Llama 3's, and the tokens are those of
    /// tokenizer_config.json or else Llama 3's 256.
    ///
    /// - Throws: `.malformed`, which names the line.
    init(
        tiktoken bytes: UnsafeRawBufferPointer, source: String, beside files: TokenizerSidecars
    ) throws {
        let ranks = try TiktokenRanks(parsing: bytes, source: source)
        let root = TokenizerSection(json: [:], path: "", source: source)
        let section = TokenizerSection(json: [:], path: "ranks", source: source)
        var spelled = TextList()
        for index in ranks.ids.indices { spelled.append { $0 += ByteSpelling.spell(ranks[index]) } }
        let vocabulary = try Vocabulary(section, texts: spelled, ids: ranks.ids)
        let raw = try Vocabulary(section, texts: ranks.tokens, ids: ranks.ids)
        for byte in UInt8.min...UInt8.max where raw.id(of: [byte]) == nil {
            throw section.failure(.malformed, nil, "no token for a byte", got: "\(byte)")
        }
        var added = try files.addedTokens(to: [], vocabulary: vocabulary)
        if added.isEmpty { added = Self.llama3Tokens(from: Int32(vocabulary.idBound)) }
        let beginning = files.role("bos_token") ?? "<|begin_of_text|>"
        let first = added.first { $0.content == Array(beginning.utf8) }?.id
        try self.init(
            TokenizerPipeline(
                addedTokens: added,
                preTokenizer: SplitPreTokenizer(
                    pattern: try Pattern(ByteLevelExpression.llama3, source: source),
                    behavior: .isolated),
                vocabulary: vocabulary,
                model: BytePairEncoding(
                    vocabulary, symbols: SymbolTable(vocabulary, isByteLevel: true),
                    merges: MergeTable(ranks, raw), isByteLevel: true, ignoresMerges: true),
                postProcessor: PostProcessor(before: first.map { [$0] } ?? []),
                decodingStages: [ByteLevelDecoding()]),
            root: root)
        beginningOfText = first
        endOfText = id(of: files.role("eos_token") ?? "<|end_of_text|>")
    }

    /// The special tokens of Llama 3's tokenizer.py, which follow the ranks.
    private static func llama3Tokens(from first: Int32) -> [AddedToken] {
        func reserved(_ numbers: Range<Int>) -> [String] {
            numbers.map { "<|reserved_special_token_\($0)|>" }
        }
        let names =
            ["<|begin_of_text|>", "<|end_of_text|>"] + reserved(0..<4)
            + ["<|start_header_id|>", "<|end_header_id|>"] + reserved(4..<5) + ["<|eot_id|>"]
            + reserved(5..<251)
        return names.enumerated().map {
            AddedToken($1.utf8, id: first + Int32($0), isSpecial: true)
        }
    }
}

extension MergeTable {
    /// Two neighbours become one if together they are a token, the lowest rank first.
    fileprivate init(_ ranks: TiktokenRanks, _ vocabulary: Vocabulary) {
        /// Past it a token would cost quadratic time; tiktoken's longest are runs of 128 spaces.
        let longestToken = 512
        var pairs: [(left: Int32, right: Int32, merged: Int32)] = []
        for index in ranks.ids.indices {
            let token = ranks[index]
            guard token.count <= longestToken else { continue }
            for cut in token.indices.dropFirst() {
                guard let left = vocabulary.id(of: token[..<cut]),
                    let right = vocabulary.id(of: token[cut...])
                else { continue }
                pairs.append((left, right, ranks.ids[index]))
            }
        }
        self.init(capacity: pairs.count)
        for pair in pairs {
            insert(pair.left, pair.right, Merge(rank: pair.merged, id: pair.merged))
        }
    }
}
