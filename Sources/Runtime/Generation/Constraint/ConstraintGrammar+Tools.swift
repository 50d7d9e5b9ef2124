extension ConstraintGrammar {
    /// Calls of some of `tools`, one or more: what `tool_choice` "required" or a named function asks for.
    ///
    /// - Parameters:
    ///   - tools: the functions to choose from; at least one.
    ///   - format: how the model writes calls.
    ///   - allowsSeveral: whether several calls may follow each other, as `parallel_tool_calls` has it; Llama 3
    ///     makes one call at a time.
    ///   - source: where the tools stand, for errors.
    /// - Returns: the grammar.
    /// - Throws: as `jsonSchema(_:source:)` for the functions' parameters.
    public static func toolCalls(
        _ tools: [ToolDefinition], format: ToolCallFormat, allowsSeveral: Bool,
        source: String = "tools"
    ) throws -> ConstraintGrammar {
        precondition(!tools.isEmpty, "no tools to choose from")
        return try json(source: source) { builder, rules in
            let call = try builder.rule { builder, start in
                try builder.choice(tools, from: start) { builder, tool, begin in
                    let head =
                        "{\"name\": \(JSON.string(tool.name).text()), \"\(format.argumentsKey)\": "
                    let arguments = try builder.literal(head, from: begin)
                    let rule = try Self.arguments(of: tool, rules, source: source, to: &builder)
                    return try builder.literal("}", from: builder.call(rule, from: arguments))
                }
            }
            return try builder.rule { builder, start in
                switch format {
                case .llama3: return try builder.call(call, from: start)
                case .mistral:
                    return try builder.list(
                        "[", "]", call, 1, allowsSeveral ? nil : 1, space: rules.space, from: start)
                case .hermes:
                    let first = try builder.hermesCall(call, from: start)
                    guard allowsSeveral else { return first }
                    let more = try builder.rule { builder, start in
                        try builder.hermesCall(call, from: builder.literal("\n", from: start))
                    }
                    return try builder.repetition(more, 0, nil, from: first)
                }
            }
        }
    }

    private static func arguments(
        of tool: ToolDefinition, _ rules: JSONRules, source: String,
        to builder: inout GrammarBuilder
    ) throws -> Int32 {
        guard var schema = tool.parameters else { return rules.object }
        // Arguments are an object, whether the schema says so or not.
        if SchemaKeywords.combinations.allSatisfy({ schema[$0] == nil }), schema["type"] == nil {
            schema["type"] = "object"
        }
        var compiler = SchemaCompiler(
            schema, rules: rules, source: "\(source), the parameters of \(tool.name)")
        return try compiler.compile(to: &builder)
    }
}

extension GrammarBuilder {
    fileprivate mutating func hermesCall(_ call: Int32, from state: Int32) throws -> Int32 {
        let open = try literal("<tool_call>\n", from: state)
        return try literal("\n</tool_call>", from: self.call(call, from: open))
    }
}
