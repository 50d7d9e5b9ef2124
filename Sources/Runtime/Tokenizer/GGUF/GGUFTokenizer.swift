public import OrderedCollections

/// The Hugging Face tokenizer files of a GGUF file's metadata, as transformers saves them.
///
/// A GGUF file has the vocabulary, the merges or scores, and the special tokens' ids under
/// `tokenizer.ggml.*`; how text is cut is only named (`tokenizer.ggml.pre`) and is filled in here.
///
/// - Parameters:
///   - ggufMetadata: all keys; arrays as `.array`.
///   - source: the file's path, for errors.
/// - Returns: `tokenizer.json` and `tokenizer_config.json`, and the chat template's text as
///   `chat_template.jinja` if the file has one.
/// - Throws: `.unsupported` for a tokenizer model or pre-tokenizer that is not known, `.malformed` for
///   metadata that contradict themselves; both name the key.
public func huggingFaceTokenizer(
    ggufMetadata: OrderedDictionary<String, JSON>, source: String
) throws -> [String: JSON] {
    let metadata = try GGUFTokenizerMetadata(ggufMetadata, source: source)
    let tokenizer =
        switch metadata.model {
        case "gpt2": try byteLevelTokenizer(metadata)
        case "llama": try sentencePieceTokenizer(metadata)
        case "bert": try wordPieceTokenizer(metadata)
        case "t5": try unigramTokenizer(metadata)
        default:
            throw metadata.failure(
                .unsupported, "model", "a tokenizer of an unknown kind",
                expected: "gpt2, llama, bert or t5", got: metadata.model)
        }
    var files = ["tokenizer.json": tokenizer, "tokenizer_config.json": try configuration(metadata)]
    files["chat_template.jinja"] = try metadata.chatTemplate.map(JSON.string)
    return files
}

private func configuration(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    func token(_ role: String) throws -> JSON { try metadata.token(role).map(JSON.string) ?? .null }
    return [
        "backend": "tokenizers",
        "bos_token": try token("bos"),
        "eos_token": try token("eos"),
        // transformers' way of saying that there is none: int(1e30)
        "model_max_length": 1e30,
        "pad_token": try token("padding"),
        "tokenizer_class": "TokenizersBackend",
        "unk_token": try token("unknown"),
    ]
}

/// The parts that all kinds share.
///
/// - cutsNormalized: whether user-defined tokens are cut out of the normalized text.
func tokenizerDocument(
    _ metadata: GGUFTokenizerMetadata, special defaults: [String], cutsNormalized: Bool = false,
    preTokenizer: JSON, decoder: JSON, normalizer: JSON = .null, model: JSON
) throws -> JSON {
    [
        "version": "1.0",
        "truncation": nil,
        "padding": nil,
        "added_tokens": .array(
            try addedTokens(metadata, special: defaults, cutsNormalized: cutsNormalized)),
        "normalizer": normalizer,
        "pre_tokenizer": preTokenizer,
        "post_processor": try postProcessor(metadata),
        "decoder": decoder,
        "model": model,
    ]
}

/// Control tokens, and those with a role, are special; user-defined ones are added without that.
private func addedTokens(
    _ metadata: GGUFTokenizerMetadata, special defaults: [String], cutsNormalized: Bool
) throws -> [JSON] {
    let roles = ["bos", "eos", "unknown", "padding", "cls", "seperator", "mask"]
    let named = try roles.compactMap(metadata.token) + defaults
    let special = Set(named.map { Array($0.utf8) })
    return metadata.tokens.indices.compactMap { id in
        let token = metadata.tokens[id]
        let isSpecial = metadata.isControl(id) || special.contains(Array(token.utf8))
        guard !token.isEmpty, isSpecial || metadata.isUserDefined(id) else { return nil }
        return [
            "id": .int(id), "content": .string(token), "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": .bool(cutsNormalized && !isSpecial),
            "special": .bool(isSpecial),
        ]
    }
}

/// `<s> $A </s>`, as `add_bos_token` and `add_eos_token` say; `[CLS] $A [SEP]` for BERT.
private func postProcessor(_ metadata: GGUFTokenizerMetadata) throws -> JSON {
    // Files older than the flags rely on llama.cpp's defaults for the kind.
    let isBERT = metadata.model == "bert"
    let addsBeginning = try metadata.flag(
        "add_bos_token", default: isBERT || metadata.model == "llama")
    let addsEnd = try metadata.flag("add_eos_token", default: isBERT || metadata.model == "t5")
    let beginning =
        addsBeginning ? try (isBERT ? metadata.id("cls") : nil) ?? metadata.id("bos") : nil
    // The key is spelled so.
    let end =
        addsEnd ? try (isBERT ? metadata.id("seperator") : nil) ?? metadata.id("eos") : nil
    func special(_ id: Int?, _ type: Int) -> [JSON] {
        id.map { [["SpecialToken": ["id": .string(metadata.tokens[$0]), "type_id": .int(type)]]] }
            ?? []
    }
    func template(_ text: String, _ type: Int) -> [JSON] {
        special(beginning, type) + [["Sequence": ["id": .string(text), "type_id": .int(type)]]]
            + special(end, type)
    }
    var used = JSON.Object()
    for id in [beginning, end].compactMap(\.self) {
        let token = metadata.tokens[id]
        used[token] = ["id": .string(token), "ids": [.int(id)], "tokens": [.string(token)]]
    }
    return [
        "type": "TemplateProcessing",
        "single": .array(template("A", 0)),
        "pair": .array(template("A", 0) + template("B", 1)),
        "special_tokens": .object(used),
    ]
}
