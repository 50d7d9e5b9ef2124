/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
    /// Who speaks: "system", "user", "assistant", "tool", or what a template knows besides.
    public var role: String
    /// What is said.
    public var content: String
    /// Further fields in their order: "name", "tool_calls", "reasoning_content".
    ///
    /// A "content" here (null beside tool calls, a list of parts) stands in place of the text.
    public var extra: JSON.Object

    /// Creates a turn.
    public init(role: String, content: String, extra: JSON.Object = JSON.Object()) {
        self.role = role
        self.content = content
        self.extra = extra
    }

    /// Reads a turn as chat data sets write it: `{"role": "user", "content": "Hi"}`.
    ///
    /// - Parameters:
    ///   - json: the message.
    ///   - source: file and line, for the error.
    /// - Throws: `.malformed` when this is no object, has no role, or neither content nor tool calls.
    public init(_ json: JSON, source: String) throws {
        guard case .object(var fields) = json else {
            throw LorikeetError(.malformed, source, "a message is no object")
        }
        guard let role = fields.removeValue(forKey: "role")?.string else {
            throw LorikeetError(
                .malformed, source, "a message has no \"role\"",
                got: "the keys \(json.object?.keys.joined(separator: ", ") ?? "")")
        }
        self.role = role
        let content = fields["content"]
        if let text = content?.string {
            self.content = text
            fields.removeValue(forKey: "content")
        } else if content?.array != nil || fields["tool_calls"]?.array != nil {
            self.content = ""
            if content == nil { fields["content"] = .null }
        } else {
            throw LorikeetError(
                .malformed, source, "a message of the role \"\(role)\" has no \"content\"")
        }
        extra = fields
    }

    /// The message as a template sees it.
    var value: JinjaValue {
        // transformers passes reasoning under the old name and the new one, whichever was given
        let names = ["reasoning_content", "thinking", "reasoning"]
        let reasoning = names.compactMap { extra[$0] }.first { !$0.isNull }
        var fields = JinjaDictionary()
        if let reasoning { fields.set("thinking", JinjaValue(reasoning)) }
        fields.set("role", .string(role))
        fields.set("content", .string(content))
        for (key, value) in extra { fields.set(key, JinjaValue(value)) }
        if let reasoning { fields.set("reasoning_content", JinjaValue(reasoning)) }
        return .dictionary(fields)
    }
}
