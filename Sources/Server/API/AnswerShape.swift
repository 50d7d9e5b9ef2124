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
    /// The tools, as the chat template sees them.
    var tools: [JSON] = []
    /// Which of them is called.
    var toolChoice = ToolChoice.none

    /// Reads `response_format`, `tools` and `tool_choice`.
    ///
    /// - Throws: `APIError` that names the parameter.
    init(_ fields: RequestFields) throws {
        if let format = try fields.fields("response_format") {
            self.format = try Self.format(format)
        }
        tools = try Self.tools(fields)
        toolChoice = try Self.toolChoice(fields, hasTools: !tools.isEmpty)
        _ = try fields.bool("parallel_tool_calls")
        for name in ["functions", "function_call"] where fields.value(name) != nil {
            throw APIError.unsupported(name, "\(name) is not supported: use tools.")
        }
        if case .none = toolChoice { tools = [] }
    }

    /// - Throws: `APIError` for what nothing enforces yet.
    func requireSupported() throws {
        switch format {
        case .text: break
        case .jsonObject, .jsonSchema:
            throw APIError.unsupported(
                "response_format", "response_format: the type \"text\" alone is supported.")
        }
        guard tools.isEmpty else {
            throw APIError.unsupported(
                "tools", "tools are not supported, but with \"tool_choice\": \"none\".")
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

    private static func tools(_ fields: RequestFields) throws -> [JSON] {
        let tools = try fields.array("tools") ?? []
        for (index, tool) in tools.enumerated() {
            guard tool["type"]?.string == "function", tool["function"]?["name"]?.string != nil
            else {
                throw APIError.invalid(
                    "tools[\(index)]",
                    "tools[\(index)]: expected {\"type\": \"function\", \"function\": {\"name\": …}}."
                )
            }
        }
        return tools
    }

    private static func toolChoice(
        _ fields: RequestFields, hasTools: Bool
    ) throws -> ToolChoice {
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
            choice = .named(name)
        }
        guard hasTools || choice == .auto else {
            throw APIError.invalid("tool_choice", "tool_choice goes with tools.")
        }
        return hasTools ? choice : .none
    }
}
