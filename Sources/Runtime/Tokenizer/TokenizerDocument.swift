/// A tokenizer.json whose two long lists are read as tables, without a tree of a hundred thousand values.
struct TokenizerDocument {
    /// All of the document but what `model.vocab` and `model.merges` hold: they are empty here.
    private(set) var json: JSON = .null
    /// The texts of `model.vocab`, in the file's order.
    private(set) var tokens = TextList()
    /// The id of each.
    private(set) var ids: [Int32] = []
    /// The score of each, where `model.vocab` is a list of tokens with scores.
    private(set) var scores: [Double] = []
    /// The texts of `model.merges`, two a merge.
    private(set) var merges = TextList()

    private let source: String

    /// Parses a file; `source` is its path, for errors.
    ///
    /// - Throws: `.malformed` for what is not JSON, or a list with something else than tokens.
    init(parsing bytes: UnsafeRawBufferPointer, source: String) throws {
        self.source = source
        guard bytes.count <= Int(Int32.max) else {
            throw LorikeetError(.unsupported, source, "more than 2 GiB of tokens")
        }
        var parser = JSONParser(bytes: bytes, source: source)
        json = try parser.document { parser in
            try object(&parser) { parser, key in
                guard key == "model" else { return try parser.value() }
                return try object(&parser) { try member($1, ofModel: &$0) }
            }
        }
    }

    // A value, which is read member by member where it is an object.
    private func object(
        _ parser: inout JSONParser, _ body: (inout JSONParser, _ key: String) throws -> JSON
    ) throws -> JSON {
        try parser.peek() == UInt8(ascii: "{") ? parser.object(body) : parser.value()
    }

    private mutating func member(
        _ key: String, ofModel parser: inout JSONParser
    ) throws -> JSON {
        switch (key, try parser.peek()) {
        case ("vocab", UInt8(ascii: "{")):
            try parser.list("{", "}") { try appendToken(&$0) }
            return [:]
        case ("vocab", UInt8(ascii: "[")):
            try parser.list("[", "]") { try appendScoredToken(&$0) }
            return []
        case ("merges", UInt8(ascii: "[")):
            try parser.list("[", "]") { try appendMerge(&$0) }
            return []
        default: return try parser.value()
        }
    }

    // "TEXT": ID
    private mutating func appendToken(_ parser: inout JSONParser) throws {
        try parser.key { parser in try tokens.append { try parser.appendString(to: &$0) } }
        let value = try parser.value()
        guard let id = value.int, 0...Int(Int32.max) ~= id else {
            let text = String(decoding: tokens.heap[tokens[tokens.count - 1]], as: UTF8.self)
            throw LorikeetError(
                .malformed, source, "model.vocab.\(text): not a token id", got: value.text())
        }
        ids.append(Int32(id))
    }

    // ["TEXT", SCORE]: the ids count up.
    private mutating func appendScoredToken(_ parser: inout JSONParser) throws {
        let id = scores.count
        var parts = 0
        if try parser.peek() == UInt8(ascii: "[") {
            try parser.list("[", "]") { parser in
                defer { parts += 1 }
                if parts == 0, try parser.peek() == UInt8(ascii: "\"") {
                    return try tokens.append { try parser.appendString(to: &$0) }
                }
                let score = try parser.value().double
                if parts == 1, let score { scores.append(score) }
            }
        }
        guard parts == 2, tokens.count == id + 1, scores.count == id + 1 else {
            throw LorikeetError(
                .malformed, source, "model.vocab[\(id)]: not a token and its score")
        }
        ids.append(Int32(id))
    }

    // ["LEFT", "RIGHT"], or "LEFT RIGHT"
    private mutating func appendMerge(_ parser: inout JSONParser) throws {
        let start = parser
        let before = merges.count
        switch try parser.peek() {
        case UInt8(ascii: "["):
            try parser.list("[", "]") { parser in
                guard try parser.peek() == UInt8(ascii: "\"") else { return _ = try parser.value() }
                try merges.append { try parser.appendString(to: &$0) }
            }
        case UInt8(ascii: "\""):
            var pair: [UInt8] = []
            try parser.appendString(to: &pair)
            for part in pair.split(separator: 0x20, omittingEmptySubsequences: false) {
                merges.append { $0 += part }
            }
        default: break
        }
        guard merges.count == before + 2 else {
            parser = start
            throw LorikeetError(
                .malformed, source, "model.merges[\(before / 2)]: not a pair of tokens",
                got: try parser.value().text())
        }
    }
}
