/// The fourth stage: the special tokens around a text, such as the beginning-of-text token.
struct PostProcessor: Sendable {
    /// What goes before a text.
    private(set) var before: [Int32] = []
    /// What goes after it.
    private(set) var after: [Int32] = []
    private var pair = PairTemplate()

    /// Adds `before` and `after` a text; of a pair, `after` either text, as BERT does.
    init(before: [Int32] = [], after: [Int32] = []) {
        self.before = before
        self.after = after
        pair = PairTemplate(before: before, between: after, after: after)
    }

    /// Reads a `post_processor` of tokenizer.json.
    init(_ section: TokenizerSection) throws {
        switch try section.type() {
        case "Sequence":
            for inner in try section.sections("processors") {
                let inner = try PostProcessor(inner)
                before = inner.before + before
                after += inner.after
                if !inner.pair.addedIDs.isEmpty { pair = inner.pair }
            }
        case "ByteLevel":
            // It only moves the offsets of tokens in the text.
            break
        case "TemplateProcessing":
            let single = try section.template("single", texts: ["A"])
            before = single[0].ids
            after = single[1].ids
            if section.json["pair"]?.isNull == false {
                pair = PairTemplate(try section.template("pair", texts: ["A", "B"]))
            }
        case "BertProcessing":
            self = PostProcessor(
                before: [try section.namedToken("cls")], after: [try section.namedToken("sep")])
        case "RobertaProcessing":
            let separator = try section.namedToken("sep")
            self = PostProcessor(
                before: [try section.namedToken("cls")], after: [separator])
            pair.between = [separator, separator]
            pair.firstOfBetween = nil
        default: throw try section.unknownType("post-processor")
        }
    }

    /// The tokens of a text with the special ones around them.
    func apply(to ids: [Int32]) -> [Int32] {
        before.isEmpty && after.isEmpty ? ids : before + ids + after
    }

    /// The tokens of a pair of texts with the special ones around them, and how many belong to the first text;
    /// nil where the tokenizer does not tell the two apart.
    func apply(toPair a: [Int32], _ b: [Int32]) -> (ids: [Int32], firstTextCount: Int?) {
        (
            pair.before + a + pair.between + b + pair.after,
            pair.firstOfBetween.map { pair.before.count + a.count + $0 }
        )
    }

    /// How many ids it adds to a text, and to a pair.
    var addedCounts: (single: Int, pair: Int) { (before.count + after.count, pair.addedIDs.count) }

    /// The ids that it adds.
    var addedIDs: [Int32] { before + after + pair.addedIDs }
}

/// What stands around and between two texts.
private struct PairTemplate: Sendable {
    var before: [Int32] = []
    var between: [Int32] = []
    var after: [Int32] = []
    /// How many of `between` are of the first text's type; nil where both have the same.
    var firstOfBetween: Int?

    /// Nothing but the texts, of one type.
    init() {}

    /// All of `between` belongs to the first text.
    init(before: [Int32], between: [Int32], after: [Int32]) {
        (self.before, self.between, self.after) = (before, between, after)
        firstOfBetween = between.count
    }

    /// The three runs of special tokens of a template.
    init(_ runs: [TokenizerSection.TemplateRun]) {
        (before, between, after) = (runs[0].ids, runs[1].ids, runs[2].ids)
        let types = runs[1].types
        firstOfBetween = runs[1].nextTextType == 0 ? nil : types.prefix { $0 == 0 }.count
    }

    var addedIDs: [Int32] { before + between + after }
}

extension TokenizerSection {
    /// Special tokens before, between or after the texts of a template.
    fileprivate struct TemplateRun {
        var ids: [Int32] = []
        /// Their types.
        var types: [Int] = []
        /// The type of the text that follows.
        var nextTextType = 0
    }

    /// The runs of special tokens around `texts` in the template `key`, one more than there are texts.
    fileprivate func template(_ key: String, texts: [String]) throws -> [TemplateRun] {
        var runs = [TemplateRun()]
        for piece in try sections(key) {
            if let sequence = piece.section("Sequence") {
                guard runs.count <= texts.count, try sequence.string("id") == texts[runs.count - 1]
                else {
                    throw sequence.failure(
                        .malformed, nil, "not the texts of a \(key) template in their order")
                }
                runs[runs.count - 1].nextTextType = sequence.json["type_id"]?.int ?? 0
                runs.append(TemplateRun())
            } else if let special = piece.section("SpecialToken") {
                let ids = try specialIDs(special)
                runs[runs.count - 1].ids += ids
                runs[runs.count - 1].types += ids.map { _ in special.json["type_id"]?.int ?? 0 }
            } else {
                throw piece.failure(.malformed, nil, "neither a Sequence nor a SpecialToken")
            }
        }
        guard runs.count == texts.count + 1 else {
            throw failure(.malformed, key, "a template without its texts")
        }
        return runs
    }

    private func specialIDs(_ special: TokenizerSection) throws -> [Int32] {
        let name = try special.string("id")
        guard let token = section("special_tokens")?.section(name) else {
            throw special.failure(
                .malformed, "id", "a token that special_tokens has not", got: name)
        }
        return try token.sections("ids").map { section in
            guard let id = section.json.int.flatMap(Int32.init(exactly:)), id >= 0 else {
                throw section.failure(.malformed, nil, "not a token id")
            }
            return id
        }
    }
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
