import Foundation
import OrderedCollections

/// How a model wants conversations written: its Jinja template and the tokens that the template names.
///
///     let template = try ChatTemplate.load(folder: "SmolLM2-135M-Instruct")
///     let prompt = try template?.render(
///         [ChatMessage(role: "user", content: "Hi")], addGenerationPrompt: true)
public struct ChatTemplate: Sendable {
    /// The template's text.
    public let source: String
    /// Whether the template shows the model the tools that it is given.
    public private(set) var usesTools = false
    private let template: JinjaTemplate
    private let marksGeneration: Bool
    private let beginningOfText: String?
    private let endOfText: String?

    /// Parses a template.
    ///
    /// - Parameters:
    ///   - source: the template.
    ///   - name: its file, for errors.
    ///   - beginningOfText: the variable `bos_token`, undefined when nil.
    ///   - endOfText: the variable `eos_token`, undefined when nil.
    /// - Throws: `.malformed` with the line.
    public init(source: String, name: String, beginningOfText: String?, endOfText: String?) throws {
        self.source = source
        template = try JinjaTemplate(source, name: name)
        // transformers looks for them the same way.
        marksGeneration =
            source.range(of: #"\{%-?\s*generation\s*-?%\}"#, options: .regularExpression) != nil
        self.beginningOfText = beginningOfText
        self.endOfText = endOfText
        usesTools = showsTools()
    }

    /// Reads the template of a Hugging Face folder: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json`, where of several named ones "default" is taken.
    ///
    /// - Returns: nil when the folder has no template.
    /// - Throws: `.malformed` when there is one that cannot be read.
    public static func load(folder: String) throws -> ChatTemplate? {
        func text(_ name: String) throws -> MappedFile? {
            let path = "\(folder)/\(name)"
            return FileManager.default.fileExists(atPath: path) ? try MappedFile(path: path) : nil
        }
        let configuration = try text("tokenizer_config.json").map { file in
            try withExtendedLifetime(file) { try JSON(parsing: file.bytes, source: file.path) }
        }
        let template = try text("chat_template.jinja").map { file in
            withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
        }
        return try ChatTemplate.choose(template, configuration: configuration, folder: folder)
    }

    /// The template of a model whose files have these contents.
    ///
    /// - Parameters:
    ///   - template: chat_template.jinja; nil without one.
    ///   - configuration: tokenizer_config.json; nil without one.
    ///   - folder: where they come from, for errors.
    /// - Returns: nil when there is no template in either.
    /// - Throws: `.malformed` when there is one that cannot be read.
    static func choose(
        _ template: String?, configuration: JSON?, folder: String
    ) throws -> ChatTemplate? {
        let configurationPath = folder + "/tokenizer_config.json"
        let embedded = try embedded(configuration?["chat_template"], in: configurationPath)
        guard let source = template ?? embedded else { return nil }
        return try ChatTemplate(
            source: source,
            name: template == nil ? configurationPath : folder + "/chat_template.jinja",
            beginningOfText: token("bos_token", in: configuration),
            endOfText: token("eos_token", in: configuration))
    }

    /// The template inside tokenizer_config.json: a string, or a list of `{name, template}`.
    private static func embedded(_ json: JSON?, in path: String) throws -> String? {
        switch json {
        case nil, .null: return nil
        case .string(let source): return source
        case .array(let named):
            guard let chosen = named.first(where: { $0["name"]?.string == "default" }),
                let source = chosen["template"]?.string
            else {
                throw LorikeetError(
                    .malformed, path,
                    "no \"default\" among the named templates of \"chat_template\"",
                    got: named.compactMap { $0["name"]?.string }.joined(separator: ", "))
            }
            return source
        default:
            throw LorikeetError(
                .malformed, path,
                "\"chat_template\" is neither a string nor a list of named templates")
        }
    }

    /// A special token: a string, or an object with its "content".
    private static func token(_ key: String, in configuration: JSON?) -> String? {
        configuration?[key]?.string ?? configuration?[key]?["content"]?.string
    }

    /// The conversation as the model's prompt.
    ///
    /// - Parameters:
    ///   - messages: the conversation's turns.
    ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
    ///   - tools: a list of JSON schemas; `none` when nil.
    ///   - extra: further variables that the template knows, such as "enable_thinking".
    /// - Returns: the prompt's text, special tokens and all.
    /// - Throws: `.invalidArgument` in the template's words when it refuses the conversation;
    ///   `.malformed` when the template itself fails.
    public func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, tools: JSON? = nil,
        extra: [String: JSON] = [:]
    ) throws -> String {
        try template.render(
            context(messages, addGenerationPrompt: addGenerationPrompt, tools: tools, extra: extra))
    }

    /// The conversation's text, and what of it the template marks as the assistant's.
    ///
    /// - Parameters:
    ///   - messages: the conversation's turns.
    ///   - tools: a list of JSON schemas; `none` when nil.
    /// - Returns: the text, and where in it the bodies of `{% generation %}` lie, in bytes; nil when the
    ///   template has none, or hides one in a macro or in the body of a `set`.
    /// - Throws: as `render`.
    public func renderMarked(
        _ messages: [ChatMessage], tools: JSON? = nil
    ) throws -> (text: String, generated: [Range<Int>]?) {
        let context = context(messages, addGenerationPrompt: false, tools: tools, extra: [:])
        let (text, generated) = try template.renderMarked(context)
        return (text, marksGeneration ? generated : nil)
    }

    private func context(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, tools: JSON?, extra: [String: JSON]
    ) -> [String: JinjaValue] {
        var context: [String: JinjaValue] = [
            "messages": .list(messages.map(\.value)),
            "tools": tools.map(JinjaValue.init) ?? .none,
            "documents": .none,
            "add_generation_prompt": .bool(addGenerationPrompt),
        ]
        context["bos_token"] = beginningOfText.map { .string($0) }
        context["eos_token"] = endOfText.map { .string($0) }
        for (name, value) in extra { context[name] = JinjaValue(value) }
        return context
    }
}
