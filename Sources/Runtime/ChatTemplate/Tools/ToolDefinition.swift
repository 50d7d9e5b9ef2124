/// A function that a model may ask to be called, as a request's `tools` describe it.
public struct ToolDefinition: Sendable, Equatable {
    /// Its name: letters, digits, `_`, `-` and `.`, at most 64.
    public let name: String
    /// The schema of its arguments; nil when any object will do.
    public let parameters: JSON?
    /// The whole description as the request gives it, which is what templates are shown.
    public let json: JSON

    /// Reads `{"type": "function", "function": {"name": …, "description": …, "parameters": …}}`.
    ///
    /// - Parameters:
    ///   - json: an element of `tools`.
    ///   - source: where it stands, for errors.
    /// - Throws: `.unsupported` for another type than a function; `.invalidArgument` when it is not such an
    ///   object.
    public init(_ json: JSON, source: String) throws {
        guard json["type"] == nil || json["type"]?.string == "function" else {
            throw LorikeetError(
                .unsupported, source, "a tool of another type than \"function\"",
                got: json["type"]?.text())
        }
        guard let function = json["function"], let name = function["name"]?.string else {
            throw LorikeetError(
                .invalidArgument, source, "a tool without \"function\" and its \"name\"")
        }
        guard (1...64).contains(name.utf8.count), name.utf8.allSatisfy(Self.isNameByte) else {
            throw LorikeetError(
                .invalidArgument, source, "the name of a function",
                expected: "1 to 64 letters, digits, _, - and .", got: String(reflecting: name))
        }
        let parameters = function["parameters"]
        guard parameters?.isNull ?? true || parameters?.object != nil else {
            throw LorikeetError(
                .invalidArgument, source, "\"parameters\" of \(name) are no schema")
        }
        self.name = name
        self.parameters = parameters?.object?.isEmpty == false ? parameters : nil
        self.json = json
    }

    /// Reads a request's `tools`, no two of one name.
    public static func list(_ json: JSON, source: String) throws -> [ToolDefinition] {
        guard let elements = json.array else {
            throw LorikeetError(.invalidArgument, source, "not a list of tools")
        }
        let tools = try elements.enumerated().map { index, element in
            try ToolDefinition(element, source: "\(source)[\(index)]")
        }
        var names: Set<String> = []
        for tool in tools where !names.insert(tool.name).inserted {
            throw LorikeetError(
                .invalidArgument, source, "two functions of one name", got: tool.name)
        }
        return tools
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "_-.".utf8.contains(byte)
        }
    }
}
