extension ConstraintGrammar {
    /// Any JSON object: OpenAI's `json_object`.
    public static func jsonObject() throws -> ConstraintGrammar {
        try json(source: "json_object") { _, rules in rules.object }
    }

    /// The JSON documents that satisfy a schema: OpenAI's `json_schema`.
    ///
    /// - Parameters:
    ///   - schema: the schema; docs/structured-output.md says which keywords are followed.
    ///   - source: where it stands, for errors.
    /// - Returns: the grammar.
    /// - Throws: `.unsupported` for a keyword that would change the meaning and is not followed,
    ///   `.malformed` for what is no schema, `.invalidArgument` for one that nothing satisfies; each names
    ///   the place and the keyword.
    public static func jsonSchema(
        _ schema: JSON, source: String = "response_format"
    ) throws -> ConstraintGrammar {
        try json(source: source) { builder, rules in
            var compiler = SchemaCompiler(schema, rules: rules, source: source)
            return try compiler.compile(to: &builder)
        }
    }

    /// A grammar of one JSON text that `body` describes, which a space may precede.
    ///
    /// Where a tokenizer writes words with the space before them, it is their natural beginning.
    static func json(
        source: String, _ body: (inout GrammarBuilder, JSONRules) throws -> Int32
    ) throws -> ConstraintGrammar {
        var builder = GrammarBuilder(source: source)
        let rules = try JSONRules(&builder)
        let start = try builder.rule { builder, start in
            let spaced = try builder.literal(" ", from: start)
            builder.join(start, spaced)
            return try builder.call(body(&builder, rules), from: spaced)
        }
        return try ConstraintGrammar(builder, start: start, textCharacter: rules.textCharacter)
    }
}
