/// What lies beside a vocabulary that is no tokenizer.json, and says how it is used: tokenizer_config.json
/// and added_tokens.json.
struct TokenizerSidecars {
    private let configuration: TokenizerSection
    private let added: TokenizerSection

    /// Takes the two files, null for one that is not there, and their folder.
    init(configuration: JSON?, addedTokens: JSON?, folder: String) {
        func section(_ json: JSON?, _ name: String) -> TokenizerSection {
            TokenizerSection(json: json ?? [:], path: "", source: folder + "/" + name)
        }
        self.configuration = section(configuration, "tokenizer_config.json")
        added = section(addedTokens, "added_tokens.json")
    }

    /// A boolean of tokenizer_config.json; nil when it is absent or null.
    func flag(_ key: String) throws -> Bool? {
        configuration.section(key) == nil ? nil : try configuration.bool(key, default: false)
    }

    /// The token with a role, such as `unk_token`.
    func role(_ key: String) -> String? {
        guard let value = configuration.json[key] else { return nil }
        return value.string ?? value["content"]?.string
    }

    /// `tokens` and those that the two files add to them.
    ///
    /// - Parameters:
    ///   - tokens: the vocabulary's own.
    ///   - vocabulary: the tokens that have ids.
    ///   - roles: special tokens that the family has behind its vocabulary if nothing gives them an id.
    /// - Returns: all of them, none twice.
    /// - Throws: `.malformed` for an element that is no token.
    func addedTokens(
        to tokens: [AddedToken], vocabulary: Vocabulary, roles: [String: String] = [:]
    ) throws -> [AddedToken] {
        var tokens = tokens
        var known = Set(tokens.map(\.content))
        func append(_ token: AddedToken) {
            // A user's text is searched: the vocabulary's rules are not tokenizer.json's.
            var token = token
            token.isNormalized = false
            token.searched = token.content
            if known.insert(token.content).inserted { tokens.append(token) }
        }
        let special = Set(roleNames.compactMap(role).map { Array($0.utf8) })
        if let decoder = configuration.section("added_tokens_decoder") {
            guard let members = decoder.json.object else {
                throw decoder.failure(.malformed, nil, "not an object of ids and tokens")
            }
            for (key, _) in members {
                guard let id = Int32(key), id >= 0, let section = decoder.section(key) else {
                    throw decoder.failure(.malformed, key, "not a token id and a token")
                }
                append(try AddedToken(section, id: id))
            }
        }
        guard let members = added.json.object else {
            throw added.failure(.malformed, nil, "not an object of tokens and ids")
        }
        for (content, _) in members {
            append(
                AddedToken(
                    content.utf8, id: try added.tokenID(content),
                    isSpecial: special.contains(Array(content.utf8))))
        }
        let sentinels = try configuration.count("extra_ids", default: 0)
        guard sentinels <= 1 << 16 else {
            throw configuration.failure(
                .malformed, "extra_ids", "too many", expected: "at most 65536", got: "\(sentinels)")
        }
        // T5's sentinels follow its vocabulary, the first one last. An id far past it is refused later.
        let last = max(vocabulary.idBound, (tokens.lazy.map { Int($0.id) }.max() ?? -1) + 1)
        let bound = min(last, Int(Int32.max) - sentinels - roles.count)
        for index in 0..<sentinels {
            append(
                AddedToken(
                    "<extra_id_\(index)>".utf8, id: Int32(bound + sentinels - 1 - index),
                    isSpecial: true))
        }
        var next = Int32(bound + sentinels)
        for (role, fallback) in roles {
            let content = Array((self.role(role) ?? fallback).utf8)
            guard !known.contains(content) else { continue }
            let id = vocabulary.id(of: content)
            append(AddedToken(content, id: id ?? next, isSpecial: true))
            if id == nil { next += 1 }
        }
        return tokens
    }

    private var roleNames: [String] {
        ["bos", "eos", "unk", "sep", "cls", "pad", "mask"].map { $0 + "_token" }
    }

    /// Refuses the classes of transformers whose ids are not those of the vocabulary's file.
    func refuseShiftedIDs(_ source: String) throws {
        guard let name = configuration.json["tokenizer_class"]?.string else { return }
        let shifted = [
            "XLMRoberta", "Camembert", "MBart", "MBart50", "Nllb", "XLNet", "M2M100", "Pegasus",
            "Barthez", "Plbart", "Reformer", "BigBird", "Fnet", "Speech2Text", "Marian",
        ]
        if shifted.contains(where: { name == $0 + "Tokenizer" || name == $0 + "TokenizerFast" }) {
            throw LorikeetError(
                .unsupported, source, "tokenizer_class: ids that are not the file's own", got: name,
                advice: "Save the tokenizer as a tokenizer.json with transformers first.")
        }
    }
}
