/// How a tokenizer.json cuts text, in llama.cpp's words.
enum GGUFPreTokenizer {
    /// What `tokenizer.ggml.pre` calls the words of a byte-level vocabulary.
    ///
    /// - Throws: `.unsupported` for words that have no name there.
    static func name(of root: TokenizerSection) throws -> String {
        if let normalizer = root.section("normalizer") {
            // llama.cpp does not normalize: composed text, which almost all is, stays as it is.
            guard try normalizer.type() == "NFC" else {
                throw GGUFVocabulary.unsupported(
                    root.source, "normalizer", got: try normalizer.type())
            }
        }
        guard let section = root.section("pre_tokenizer") else {
            throw GGUFVocabulary.unsupported(root.source, "a BPE vocabulary that is not byte-level")
        }
        let stages =
            try section.type() == "Sequence" ? try section.sections("pretokenizers") : [section]
        guard let last = stages.last, try last.type() == "ByteLevel", stages.count <= 2,
            try !last.bool("add_prefix_space", default: true)
        else { throw unnamed(section) }
        let cutsItself = try last.bool("use_regex", default: true)
        guard stages.count == 2 else {
            guard cutsItself else { throw unnamed(section) }
            return "gpt-2"
        }
        let first = stages[0]
        switch try first.type() {
        case "Digits" where cutsItself:
            guard try first.bool("individual_digits", default: false) else { throw unnamed(first) }
            return "smollm"
        case "Split" where !cutsItself:
            let expression = first.json["pattern"]?["Regex"]?.string
            let name = ["llama-bpe", "qwen2", "tekken", "gpt-4o"].first {
                ByteLevelExpression.named[$0] == expression
            }
            guard let name, try first.string("behavior") == "Isolated",
                try !first.bool("invert", default: false)
            else { throw unnamed(first) }
            return name
        default: throw unnamed(first)
        }
    }

    /// Whether SentencePiece's byte pairs get a space before the text.
    ///
    /// - Throws: `.unsupported` for anything else than spaces that become `▁`.
    static func addsSpacePrefix(_ root: TokenizerSection) throws -> Bool {
        var addsPrefix = false
        var escapes = false
        for stage in try parts(root.section("normalizer"), "normalizers") {
            switch try stage.type() {
            case "Prepend" where try stage.string("prepend") == "▁": addsPrefix = true
            case "Replace"
            where stage.json["pattern"]?["String"]?.string == " "
                && stage.json["content"]?.string == "▁":
                escapes = true
            default:
                throw GGUFVocabulary.unsupported(root.source, stage.path, got: stage.json.text())
            }
        }
        for stage in try parts(root.section("pre_tokenizer"), "pretokenizers") {
            // Gemma's cuts at spaces, of which the normalizer has left none.
            if escapes, try stage.type() == "Split", stage.json["pattern"]?["String"]?.string == " "
            {
                continue
            }
            // A Metaspace that cuts words apart gives the same tokens: none has a space within.
            guard try stage.type() == "Metaspace" else { throw unnamed(stage) }
            escapes = true
            let scheme = try stage.optionalString("prepend_scheme")
            addsPrefix =
                try scheme.map { $0 != "never" } ?? stage.bool("add_prefix_space", default: true)
        }
        guard escapes else {
            throw GGUFVocabulary.unsupported(root.source, "byte pairs with spaces of their own")
        }
        return addsPrefix
    }

    private static func parts(
        _ section: TokenizerSection?, _ key: String
    ) throws -> [TokenizerSection] {
        guard let section else { return [] }
        return try section.type() == "Sequence" ? try section.sections(key) : [section]
    }

    private static func unnamed(_ section: TokenizerSection) -> LorikeetError {
        GGUFVocabulary.unsupported(
            section.source, "\(section.path): words that llama.cpp has no name for",
            got: section.json.text())
    }
}
