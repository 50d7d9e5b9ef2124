import Foundation
import OrderedCollections

/// A model's vocabulary as a GGUF file has it: `tokenizer.ggml.*` and the chat template.
///
/// llama.cpp has a kind of its own for byte-level BPE (`gpt2`) and for SentencePiece's byte pairs (`llama`). How
/// a byte-level vocabulary cuts text is only named there (`tokenizer.ggml.pre`): one that has no name is
/// refused, as are Unigram and WordPiece, which no decoder of the Llama family has.
struct GGUFVocabulary {
    let metadata: OrderedDictionary<String, GGUFValue>

    /// Types of tokens, as llama.cpp numbers them.
    enum TokenType: Int32 {
        case normal = 1
        case unknown = 2
        case control = 3
        case userDefined = 4
        case unused = 5
        case byte = 6
    }

    /// What is written of a kind of vocabulary, less the tokens' texts and roles.
    struct Kind {
        /// `tokenizer.ggml.model`.
        let model: String
        /// Keys of this kind alone.
        let fields: OrderedDictionary<String, GGUFValue>
        /// SentencePiece's scores, by id.
        let scores: [Float]?
        /// The type of a token that is not added to the vocabulary.
        let type: (_ id: Int32, _ text: ArraySlice<UInt8>) -> TokenType
    }

    /// Converts the vocabulary of `files`; `configuration` is config.json.
    ///
    /// - Throws: `.unsupported` for a vocabulary that has no kind in llama.cpp, naming its stage.
    init(_ files: TokenizerFiles, configuration: JSON, source: String) throws {
        let tokenizer = try files.tokenizer()
        let kind = try Self.kind(of: files, source: source)
        let count = configuration["vocab_size"]?.int ?? tokenizer.idBound
        guard tokenizer.idBound <= count else {
            throw LorikeetError(
                .mismatch, source, "the tokenizer has more tokens than the embedding has rows",
                expected: "at most \(count)", got: "\(tokenizer.idBound)")
        }
        let added = Set(tokenizer.addedTokenIDs)
        var texts: [ArraySlice<UInt8>] = []
        var types: [TokenType] = []
        for id in 0..<Int32(count) {
            guard let text = tokenizer.bytes(of: id) else {
                // Rows of the embedding that no token has.
                texts.append(ArraySlice("[PAD\(id)]".utf8))
                types.append(.unused)
                continue
            }
            texts.append(text)
            let type = kind.type(id, text)
            let isAdded = type == .normal && added.contains(id)
            types.append(!isAdded ? type : tokenizer.isSpecial(id) ? .control : .userDefined)
        }
        var values: OrderedDictionary<String, GGUFValue> = [
            "tokenizer.ggml.model": .string(kind.model)
        ]
        values.merge(kind.fields) { $1 }
        values["tokenizer.ggml.tokens"] = .strings(texts)
        values["tokenizer.ggml.scores"] = kind.scores.map { scores in
            // As llama.cpp's converter has it for what SentencePiece does not know.
            .float32s(scores + [Float](repeating: -10_000, count: count - scores.count))
        }
        values["tokenizer.ggml.token_type"] = .int32s(types.map(\.rawValue))
        let roles = try Roles(tokenizer, files, configuration, source: source)
        for (name, id) in roles.ids { values["tokenizer.ggml.\(name)_token_id"] = .uint32(Int(id)) }
        values["tokenizer.ggml.add_bos_token"] = .bool(roles.addsBeginning)
        values["tokenizer.ggml.add_eos_token"] = .bool(roles.addsEnd)
        values["tokenizer.chat_template"] = try files.chatTemplate().map { .string($0.source) }
        metadata = values
    }

    private static func kind(of files: TokenizerFiles, source: String) throws -> Kind {
        if let data = files.files["tokenizer.json"] {
            return try data.withUnsafeBytes { bytes in
                let source = source + "/tokenizer.json"
                return try Kind(TokenizerDocument(parsing: bytes, source: source), source: source)
            }
        }
        if let data = files.files["tokenizer.model"] {
            return try data.withUnsafeBytes { bytes in
                let source = source + "/tokenizer.model"
                guard !TiktokenRanks.isLikely(bytes) else {
                    throw unsupported(source, "tiktoken's ranks have no merges")
                }
                return try Kind(SentencePieceModel(parsing: bytes, source: source))
            }
        }
        throw unsupported(source, "a vocabulary that is neither byte-level nor SentencePiece's")
    }

    static func unsupported(
        _ source: String, _ problem: String, got: String? = nil
    ) -> LorikeetError {
        LorikeetError(
            .unsupported, source, "\(problem): it is not written as GGUF",
            expected: "byte-level BPE, or SentencePiece's byte pairs", got: got,
            advice: "Export the model as safetensors and convert it with llama.cpp's script.")
    }

    /// The tokens with a role, and which of them stand around a text.
    private struct Roles {
        var ids: OrderedDictionary<String, Int32> = [:]
        let addsBeginning: Bool
        let addsEnd: Bool

        init(
            _ tokenizer: Tokenizer, _ files: TokenizerFiles, _ configuration: JSON, source: String
        ) throws {
            let named = try files.json("tokenizer_config.json") ?? [:]
            let around = tokenizer.postProcessor
            func only(_ ids: [Int32]) -> Int32? { ids.count == 1 ? ids[0] : nil }
            // What the files name, else what stands around a text, else what config.json says.
            for (name, key, other) in [
                ("bos", "bos", tokenizer.beginningOfText ?? only(around.before)),
                ("eos", "eos", tokenizer.endOfText ?? only(around.after)),
                ("unknown", "unk", nil), ("padding", "pad", nil),
            ] {
                let token = named["\(key)_token"]
                let text = token?.string ?? token?["content"]?.string
                let number = configuration["\(key)_token_id"]
                let first = (number?.array?.first ?? number)?.int.flatMap(Int32.init(exactly:))
                let configured = first.flatMap { tokenizer.bytes(of: $0) == nil ? nil : $0 }
                ids[name] = text.flatMap(tokenizer.id(of:)) ?? other ?? configured
            }
            addsBeginning = ids["bos"].map { around.before == [$0] } ?? false
            addsEnd = ids["eos"].map { around.after == [$0] } ?? false
            guard addsBeginning || around.before.isEmpty, addsEnd || around.after.isEmpty else {
                throw GGUFVocabulary.unsupported(
                    source, "tokens around a text that are not its begin and its end",
                    got: "\(around.before) and \(around.after)")
            }
        }
    }
}

extension GGUFVocabulary.Kind {
    /// The kind of a tokenizer.json.
    init(_ document: TokenizerDocument, source: String) throws {
        let root = TokenizerSection(json: document.json, path: "", source: source)
        guard let model = root.section("model") else {
            throw root.failure(.malformed, "model", "a tokenizer without vocabulary")
        }
        let type = try model.optionalString("type") ?? "BPE"
        guard type == "BPE" else {
            throw GGUFVocabulary.unsupported(source, "model.type", got: type)
        }
        if try model.bool("byte_fallback", default: false) {
            try self.init(bytePairs: document, root, model)
        } else {
            try self.init(byteLevel: document, root, model)
        }
    }

    private init(
        byteLevel document: TokenizerDocument, _ root: TokenizerSection, _ model: TokenizerSection
    ) throws {
        let name = try GGUFPreTokenizer.name(of: root)
        // llama.cpp takes whole words that are tokens by the name of the pre-tokenizer.
        let ignoresMerges = try model.bool("ignore_merges", default: false)
        guard !ignoresMerges || ["llama-bpe", "tekken"].contains(name) else {
            throw GGUFVocabulary.unsupported(
                root.source, "model.ignore_merges with the words of \(name)", got: "true")
        }
        self.model = "gpt2"
        let merges = stride(from: 0, to: document.merges.count, by: 2).map { index in
            document.merges.heap[document.merges[index]] + [UInt8(ascii: " ")]
                + document.merges.heap[document.merges[index + 1]]
        }
        fields = [
            "tokenizer.ggml.pre": .string(name), "tokenizer.ggml.merges": .strings(merges),
        ]
        scores = nil
        type = { _, _ in .normal }
    }

    /// Scores fall with the rank of the merge that makes a token: llama.cpp joins the neighbours whose token has
    /// the highest score, and of equal ones the leftmost, which is what the merges in their order do.
    private init(
        bytePairs document: TokenizerDocument, _ root: TokenizerSection, _ model: TokenizerSection
    ) throws {
        let addsPrefix = try GGUFPreTokenizer.addsSpacePrefix(root)
        self.model = "llama"
        var ids: [ArraySlice<UInt8>: Int32] = [:]
        var count = 0
        for (index, id) in document.ids.enumerated() {
            ids[document.tokens.heap[document.tokens[index]]] = id
            count = max(count, Int(id) + 1)
        }
        for token in try root.sections("added_tokens") {
            count = max(count, Int(try token.tokenID("id")) + 1)
        }
        guard count <= 1 << 24 else {
            throw root.failure(.malformed, "added_tokens", "an id far past the vocabulary's size")
        }
        // What no merge makes, characters and bytes among it, is never joined: the lowest score is as good as any.
        let mergeCount = document.merges.count / 2
        var scores = [Float](repeating: -Float(mergeCount), count: count)
        for rank in (0..<mergeCount).reversed() {
            let merged =
                document.merges.heap[document.merges[2 * rank]]
                + document.merges.heap[document.merges[2 * rank + 1]]
            if let id = ids[merged] { scores[Int(id)] = -Float(rank) }
        }
        self.scores = scores
        fields = Self.sentencePiece(addsPrefix: addsPrefix)
        let unknown =
            try model.optionalString("unk_token").flatMap { ids[ArraySlice($0.utf8)] }
            ?? ids[ArraySlice("<unk>".utf8)]
        type = { id, text in
            if id == unknown { return .unknown }
            return ByteFallbackDecoding.byte(of: Array(text)) == nil ? .normal : .byte
        }
    }

    /// The kind of a SentencePiece model.
    init(_ model: SentencePieceModel) throws {
        guard model.kind == .bytePairs else {
            throw GGUFVocabulary.unsupported(
                model.source, "trainer_spec.model_type", got: "\(model.kind)")
        }
        self.model = "llama"
        scores = model.scores
        fields = Self.sentencePiece(addsPrefix: model.addsPrefix)
        let types = model.types
        type = { id, _ in
            guard types.indices.contains(Int(id)) else { return .normal }
            return GGUFVocabulary.TokenType(rawValue: Int32(types[Int(id)].rawValue)) ?? .normal
        }
    }

    private static func sentencePiece(addsPrefix: Bool) -> OrderedDictionary<String, GGUFValue> {
        [
            "tokenizer.ggml.pre": .string("default"),
            "tokenizer.ggml.add_space_prefix": .bool(addsPrefix),
        ]
    }
}
