import LorikeetRuntime

/// What an answer must look like: free text, JSON, or a call of a tool.
///
/// Everything that a request says of it is read and checked here.
struct AnswerShape {
    /// The form of the text.
    enum Format {
        /// Any text.
        case text
        /// A JSON object.
        case jsonObject
        /// JSON that a schema describes.
        case jsonSchema(JSON)
    }

    /// Which tool the answer calls.
    enum ToolChoice: Equatable {
        /// None.
        case none
        /// Whatever the model decides.
        case auto
        /// Some tool.
        case required
        /// The tool of that name.
        case named(String)
    }

    /// The form of the text.
    var format = Format.text
    /// The tools that the answer may call.
    var tools: [ToolDefinition] = []
    /// Which of them is called.
    var toolChoice = ToolChoice.none
    /// Whether it may call more than one.
    var allowsSeveralCalls = true

    /// Reads `response_format`, `tools` and `tool_choice`.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields) throws {
        if let format = try fields.fields("response_format") {
            self.format = try Self.format(format)
        }
        if let list = try fields.array("tools") {
            tools = try APIError.naming("tools") {
                try ToolDefinition.list(.array(list), source: "tools")
            }
        }
        toolChoice = try Self.toolChoice(fields, tools)
        allowsSeveralCalls = try fields.bool("parallel_tool_calls") ?? true
        for name in ["functions", "function_call"] where fields.value(name) != nil {
            throw APIError.unsupported(name, "\(name) is not supported: use tools.")
        }
        if case .none = toolChoice { tools = [] }
        if case .text = format { return }
        guard tools.isEmpty else {
            throw APIError.invalid(
                "response_format",
                "response_format goes without tools, or with \"tool_choice\": \"none\".")
        }
    }

    private static func format(_ fields: RequestFields) throws -> Format {
        let name = "response_format.type"
        _ = try fields.required("type")
        switch try fields.string("type") {
        case "text": return .text
        case "json_object": return .jsonObject
        case "json_schema":
            _ = try fields.required("json_schema")
            guard let description = try fields.fields("json_schema") else { return .jsonObject }
            _ = try description.required("schema")
            _ = try description.string("name")
            _ = try description.bool("strict")
            return .jsonSchema(.object(try description.object("schema") ?? .init()))
        case let type?:
            throw APIError.invalid(
                name, "\(name): expected text, json_object or json_schema, got \"\(type)\".")
        case nil: return .text
        }
    }

    private static func toolChoice(
        _ fields: RequestFields, _ tools: [ToolDefinition]
    ) throws -> ToolChoice {
        let hasTools = !tools.isEmpty
        guard let value = fields.value("tool_choice") else { return hasTools ? .auto : .none }
        let choice: ToolChoice
        switch value.string {
        case "none": return .none
        case "auto": choice = .auto
        case "required": choice = .required
        default:
            guard let name = value["function"]?["name"]?.string else {
                throw APIError.invalid(
                    "tool_choice",
                    "tool_choice: expected none, auto, required or {\"type\": \"function\", …}.")
            }
            guard tools.contains(where: { $0.name == name }) else {
                throw APIError.invalid("tool_choice", "tool_choice: no tool is called \(name).")
            }
            choice = .named(name)
        }
        guard hasTools || choice == .auto else {
            throw APIError.invalid("tool_choice", "tool_choice goes with tools.")
        }
        return hasTools ? choice : .none
    }
}
