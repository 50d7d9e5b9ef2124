/// Turns a JSON Schema (draft 2020-12 and what earlier drafts share with it) into rules.
///
/// What is written satisfies the schema; of what satisfies it, some is left out: members in another order
/// than `properties` has them, members that no keyword asks for, numbers past `JSONRules`' lengths. A keyword
/// that would change the meaning and is not followed is an error that names it.
struct SchemaCompiler {
    private static let maximumDepth = 64

    let rules: JSONRules
    let root: JSON
    let source: String
    private var ruleOfReference: [String: Int32] = [:]
    // References that have read nothing yet: meeting one again would go round in circles.
    private var opened: [String] = []
    private var depth = 0

    /// Prepares to compile `root`; `source` says where it stands, for errors.
    init(_ root: JSON, rules: JSONRules, source: String) {
        self.root = root
        self.rules = rules
        self.source = source
    }

    /// The rule of the whole schema.
    ///
    /// - Throws: `.unsupported` or `.malformed`, naming the place and the keyword.
    mutating func compile(to builder: inout GrammarBuilder) throws -> Int32 {
        try rule(root, "", to: &builder)
    }

    /// The rule of a schema that stands at `path`.
    mutating func rule(
        _ schema: JSON, _ path: String, to builder: inout GrammarBuilder
    ) throws -> Int32 {
        // Whatever is written here stands behind a name or a bracket.
        let outer = opened
        opened = []
        defer { opened = outer }
        return try alternative(schema, path, to: &builder)
    }

    func failure(
        _ code: LorikeetError.Code, _ path: String, _ problem: String, got: String? = nil
    ) -> LorikeetError {
        LorikeetError(code, source, "the schema at \"#\(path)\": \(problem)", got: got)
    }

    private mutating func alternative(
        _ schema: JSON, _ path: String, to builder: inout GrammarBuilder
    ) throws -> Int32 {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else {
            throw failure(
                .unsupported, path, "nested deeper than \(Self.maximumDepth) levels")
        }
        if schema.bool == true { return rules.value }
        guard let keywords = schema.object else {
            throw failure(
                schema.bool == false ? .unsupported : .malformed, path,
                schema.bool == false ? "the schema `false`" : "not a schema")
        }
        for key in keywords.keys where SchemaKeywords.unsupported.contains(key) {
            throw failure(
                .unsupported, path, "the keyword \(String(reflecting: key)) is not supported")
        }
        if keywords["uniqueItems"]?.bool == true {
            throw failure(.unsupported, path, "the keyword \"uniqueItems\" is not supported")
        }
        if let values = try constants(keywords, path) {
            return try builder.rule { builder, start in
                try builder.choice(values, from: start) { try $0.literal($1.text(), from: $2) }
            }
        }
        let combinations = SchemaKeywords.combinations.filter { keywords[$0] != nil }
        if let combination = combinations.first {
            guard combinations.count == 1 else {
                throw failure(
                    .unsupported, path,
                    "the keywords \(combinations.joined(separator: " and ")) side by side")
            }
            return try combined(combination, keywords, path, to: &builder)
        }
        let types = try types(of: keywords, path)
        guard !types.isEmpty else { return rules.value }
        let start = try builder.state()
        for type in types {
            let begin = try builder.state()
            builder.join(start, begin)
            let end = try write(type, keywords, path, to: &builder, from: begin)
            builder.join(end, ConstraintGrammar.end)
        }
        return start
    }

    /// The values of `enum` or `const`, in as far as they have the type; nil without either.
    private func constants(_ keywords: JSON.Object, _ path: String) throws -> [JSON]? {
        guard keywords["enum"] != nil || keywords["const"] != nil else { return nil }
        var values = keywords["const"].map { [$0] } ?? []
        if let listed = keywords["enum"] {
            guard let list = listed.array, !list.isEmpty else {
                throw failure(.malformed, path, "\"enum\" is no list of values")
            }
            values = keywords["const"] == nil ? list : values.filter(list.contains)
        }
        for key in keywords.keys
        where key != "format"
            && (SchemaKeywords.typeOfKeyword[key] != nil
                || SchemaKeywords.combinations.contains(key))
        {
            throw failure(
                .unsupported, path, "the keyword \(String(reflecting: key)) beside enum or const")
        }
        if keywords["type"] != nil {
            let types = try types(of: keywords, path)
            values.removeAll { value in !types.contains { value.isOfType($0) } }
        }
        guard !values.isEmpty else {
            throw failure(.invalidArgument, path, "no value of enum or const has the type")
        }
        return values
    }

    /// `$ref`, `anyOf`, `oneOf` or `allOf`, with nothing beside it but annotations and a type.
    private mutating func combined(
        _ keyword: String, _ keywords: JSON.Object, _ path: String,
        to builder: inout GrammarBuilder
    ) throws -> Int32 {
        for key in keywords.keys where SchemaKeywords.typeOfKeyword[key] != nil {
            throw failure(
                .unsupported, path,
                "the keyword \(String(reflecting: key)) beside \(String(reflecting: keyword))")
        }
        let type = keywords["type"]
        if keyword == "$ref" {
            guard type == nil else {
                throw failure(.unsupported, path, "the keyword \"type\" beside \"$ref\"")
            }
            return try referenced(keywords["$ref"]?.string, path, to: &builder)
        }
        guard let list = keywords[keyword]?.array, !list.isEmpty else {
            throw failure(.malformed, path, "\(String(reflecting: keyword)) is no list of schemas")
        }
        guard keyword != "allOf" || list.count == 1 else {
            throw failure(.unsupported, path, "\"allOf\" of several schemas")
        }
        let start = try builder.state()
        for (index, alternative) in list.enumerated() {
            let place = "\(path)/\(keyword)/\(index)"
            var schema = alternative
            if let type {
                guard schema["type"] == nil || schema["type"] == type, schema.object != nil,
                    schema["$ref"] == nil
                else { throw failure(.unsupported, place, "another type than beside it") }
                schema["type"] = type
            }
            builder.join(start, try self.alternative(schema, place, to: &builder))
        }
        return start
    }

    /// The rule of what a reference points to, made once.
    private mutating func referenced(
        _ reference: String?, _ path: String, to builder: inout GrammarBuilder
    ) throws -> Int32 {
        guard let reference else { throw failure(.malformed, path, "\"$ref\" is no string") }
        guard !opened.contains(reference) else {
            throw failure(.unsupported, path, "a $ref that leads to itself", got: reference)
        }
        if let known = ruleOfReference[reference] { return known }
        guard reference == "#" || reference.hasPrefix("#/") else {
            throw failure(
                .unsupported, path, "a $ref to another document", got: reference)
        }
        var target = root
        for part in reference.split(separator: "/").dropFirst() {
            let key = String(part.replacing("~1", with: "/").replacing("~0", with: "~"))
            guard let next = target[key] ?? Int(key).flatMap({ target.element($0) }) else {
                throw failure(.malformed, path, "a $ref to nothing", got: reference)
            }
            target = next
        }
        let rule = try builder.state()
        ruleOfReference[reference] = rule
        opened.append(reference)
        defer { opened.removeLast() }
        builder.join(rule, try alternative(target, String(reference.dropFirst()), to: &builder))
        return rule
    }

    /// The types that a value may have; empty for any.
    private func types(of keywords: JSON.Object, _ path: String) throws -> [String] {
        guard let type = keywords["type"] else {
            // Keywords of one type mean it, though by the letter they let values of the others pass.
            let meant = Set(keywords.keys.compactMap { SchemaKeywords.typeOfKeyword[$0] })
            return meant.sorted()
        }
        let types = type.string.map { [$0] } ?? type.array?.compactMap(\.string) ?? []
        guard !types.isEmpty, types.count == type.array?.count ?? 1 else {
            throw failure(.malformed, path, "\"type\" is no name of a type, nor a list of such")
        }
        return types
    }

    private mutating func write(
        _ type: String, _ keywords: JSON.Object, _ path: String,
        to builder: inout GrammarBuilder, from state: Int32
    ) throws -> Int32 {
        switch type {
        case "null": return try builder.literal("null", from: state)
        case "boolean":
            return try builder.choice(["true", "false"], from: state) {
                try $0.literal($1, from: $2)
            }
        case "object": return try writeObject(keywords, path, to: &builder, from: state)
        case "array": return try writeArray(keywords, path, to: &builder, from: state)
        case "string": return try writeString(keywords, path, to: &builder, from: state)
        case "integer", "number":
            return try writeNumber(
                keywords, path, isInteger: type == "integer", to: &builder, from: state)
        default: throw failure(.malformed, path, "an unknown type", got: type)
        }
    }
}

extension JSON {
    fileprivate func isOfType(_ type: String) -> Bool {
        switch self {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .int: type == "integer" || type == "number"
        case .double: type == "number" || type == "integer" && int != nil
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    fileprivate func element(_ index: Int) -> JSON? {
        guard let array, array.indices.contains(index) else { return nil }
        return array[index]
    }
}
