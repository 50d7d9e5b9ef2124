/// The fourth stage: the special tokens around a text, such as the beginning-of-text token.
struct PostProcessor: Sendable {
    private var before: [Int32] = []
    private var after: [Int32] = []

    /// Adds `before` and `after` a text.
    init(before: [Int32] = [], after: [Int32] = []) {
        self.before = before
        self.after = after
    }

    /// Reads a `post_processor` of tokenizer.json; of templates the one for a single text.
    init(_ section: TokenizerSection) throws {
        switch try section.type() {
        case "Sequence":
            for inner in try section.sections("processors") {
                let inner = try PostProcessor(inner)
                before = inner.before + before
                after += inner.after
            }
        case "ByteLevel":
            // It only moves the offsets of tokens in the text.
            break
        case "TemplateProcessing": try readTemplate(section)
        case "BertProcessing", "RobertaProcessing":
            before = [try section.namedToken("cls")]
            after = [try section.namedToken("sep")]
        default: throw try section.unknownType("post-processor")
        }
    }

    private mutating func readTemplate(_ section: TokenizerSection) throws {
        var texts = 0
        for piece in try section.sections("single") {
            if let sequence = piece.section("Sequence") {
                guard try sequence.string("id") == "A", texts == 0 else {
                    throw sequence.failure(.malformed, nil, "not the one text of a single template")
                }
                texts += 1
            } else if let special = piece.section("SpecialToken") {
                let name = try special.string("id")
                guard let token = section.section("special_tokens")?.section(name) else {
                    throw special.failure(
                        .malformed, "id", "a token that special_tokens has not", got: name)
                }
                let ids = try token.sections("ids").map { section in
                    guard let id = section.json.int.flatMap(Int32.init(exactly:)), id >= 0 else {
                        throw section.failure(.malformed, nil, "not a token id")
                    }
                    return id
                }
                if texts == 0 { before += ids } else { after += ids }
            } else {
                throw piece.failure(.malformed, nil, "neither a Sequence nor a SpecialToken")
            }
        }
        guard texts == 1 else {
            throw section.failure(.malformed, "single", "a template without the text")
        }
    }

    /// The tokens of a text with the special ones around them.
    func apply(to ids: [Int32]) -> [Int32] {
        before.isEmpty && after.isEmpty ? ids : before + ids + after
    }

    /// The ids that it adds.
    var addedIDs: [Int32] { before + after }
}

extension TokenizerSection {
    /// The id in `["TOKEN", ID]`.
    fileprivate func namedToken(_ key: String) throws -> Int32 {
        let id = section(key)?.json.array?.last?.int.flatMap(Int32.init(exactly:))
        guard let id, id >= 0 else {
            throw failure(.malformed, key, "not a token and its id")
        }
        return id
    }
}
