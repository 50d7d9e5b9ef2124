import LorikeetRuntime

/// Turns one object of a data set into tokens and targets.
struct TrainingRowReader {
    let tokenizer: Tokenizer
    let chatTemplate: ChatTemplate?
    /// How an instruction is put; nil for a chat where there is a template.
    var style: PromptStyle?

    /// The row of one object; `source` is its file and line, for errors.
    func row(_ json: JSON, source: String) throws -> TrainingRow {
        guard case .object(let members) = json else {
            throw LorikeetError(.malformed, source, "a row is a JSON object, this is another value")
        }
        let shapes: [(keys: [String], read: () throws -> TrainingRow)] = [
            (["messages"], { try chat(members, source) }),
            (["prompt", "completion"], { try completion(members, source) }),
            (["instruction", "output"], { try instruction(members, source) }),
            (["text"], { try text(members, source) }),
            (["input_ids"], { try ids(members, source) }),
        ]
        for shape in shapes where shape.keys.allSatisfy({ members[$0] != nil }) {
            return try shape.read()
        }
        throw LorikeetError(
            .malformed, source, "a row of unknown shape",
            expected: "messages; prompt and completion; instruction and output; text; or input_ids",
            got: members.isEmpty ? "no keys" : "the keys \(members.keys.joined(separator: ", "))")
    }

    /// The string at `key`.
    func string(_ members: JSON.Object, _ key: String, _ source: String) throws -> String {
        guard let text = members[key]?.string else {
            throw LorikeetError(.malformed, source, "\"\(key)\" is no string")
        }
        return text
    }

    // MARK: Chats

    private func chat(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        guard let list = members["messages"]?.array else {
            throw LorikeetError(.malformed, source, "\"messages\" is no array")
        }
        let messages = try list.map { try ChatMessage($0, source: source) }
        let tools = members["tools"].flatMap { $0.isNull ? nil : $0 }
        return try chat(messages, tools: tools, source)
    }

    /// A chat, with the assistant's turns from message `firstTarget` on as targets.
    func chat(
        _ messages: [ChatMessage], tools: JSON?, _ source: String, firstTarget: Int = 0
    ) throws -> TrainingRow {
        try conversation(messages, tools: tools, source, firstTarget: firstTarget).row(tokenizer)
    }

    private func conversation(
        _ messages: [ChatMessage], tools: JSON?, _ source: String, firstTarget: Int = 0
    ) throws -> Conversation {
        guard let chatTemplate else {
            throw LorikeetError(
                .unsupported, source,
                "a row to be put as a chat, but the model has no chat template",
                advice:
                    "Give the model's folder a chat_template.jinja, or use prompt and completion.")
        }
        return Conversation(
            messages: messages, tools: tools, template: chatTemplate, source: source,
            firstTarget: firstTarget)
    }

    private func instruction(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        let output = try string(members, "output", source)
        guard usesChat else {
            return completion(try prompt(members, source), completion: output)
        }
        let answer = ChatMessage(role: "assistant", content: output)
        return try chat([question(members, source), answer], tools: nil, source)
    }

    /// What a model is asked with for an object with an instruction, and perhaps an input.
    func prompt(_ members: JSON.Object, _ source: String) throws -> Prompt {
        guard usesChat else {
            let (instruction, input) = try parts(members, source)
            return Prompt.alpaca(instruction, input)
        }
        let question = try conversation([question(members, source)], tools: nil, source)
        return Prompt(
            text: try question.render(1, addGenerationPrompt: true), addsSpecialTokens: false)
    }

    private var usesChat: Bool { style.map { $0 == .chat } ?? (chatTemplate != nil) }

    private func question(_ members: JSON.Object, _ source: String) throws -> ChatMessage {
        let (instruction, input) = try parts(members, source)
        return ChatMessage(
            role: "user", content: input.isEmpty ? instruction : instruction + "\n\n" + input)
    }

    private func parts(
        _ members: JSON.Object, _ source: String
    ) throws -> (instruction: String, input: String) {
        let hasInput = members["input"].map { !$0.isNull } ?? false
        return (
            try string(members, "instruction", source),
            hasInput ? try string(members, "input", source) : ""
        )
    }

    // MARK: Texts

    private func completion(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        let prompt = Prompt(text: try string(members, "prompt", source), addsSpecialTokens: true)
        return completion(prompt, completion: try string(members, "completion", source))
    }

    /// A row of a prompt and what follows it, of which the latter is learned.
    func completion(_ prompt: Prompt, completion: String) -> TrainingRow {
        let (promptIDs, whole) = prompt.tokens(continuedBy: completion, tokenizer)
        let ids = ended(whole)
        let ignored = repeatElement(TrainingRow.masked, count: promptIDs.count)
        return TrainingRow(
            inputIDs: ids, labels: Array(ignored) + Array(ids.dropFirst(promptIDs.count)))
    }

    private func text(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        let ids = ended(
            tokenizer.encode(try string(members, "text", source), addSpecialTokens: true))
        return TrainingRow(inputIDs: ids, labels: ids)
    }

    /// `ids` with the end of text, unless it is there already: a model learns to stop from it.
    private func ended(_ ids: [Int32]) -> [Int32] {
        guard let end = tokenizer.endOfText, ids.last != end else { return ids }
        return ids + [end]
    }

    // MARK: Ids

    private func ids(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        let ids = try integers(members, "input_ids", source)
        guard members["labels"].map(\.isNull) ?? true else {
            let labels = try integers(members, "labels", source, allowing: TrainingRow.masked)
            guard labels.count == ids.count else {
                throw LorikeetError(
                    .malformed, source, "\"labels\" and \"input_ids\" differ in length",
                    expected: "\(ids.count) labels", got: "\(labels.count)")
            }
            return TrainingRow(inputIDs: ids, labels: labels)
        }
        return TrainingRow(inputIDs: ids, labels: ids)
    }

    private func integers(
        _ members: JSON.Object, _ key: String, _ source: String, allowing extra: Int32? = nil
    ) throws -> [Int32] {
        guard let list = members[key]?.array else {
            throw LorikeetError(.malformed, source, "\"\(key)\" is no array")
        }
        return try list.map { element in
            guard let value = element.int else {
                throw LorikeetError(
                    .malformed, source, "\"\(key)\" holds something that is no integer")
            }
            guard let id = Int32(exactly: value),
                (0..<tokenizer.idBound).contains(value) || id == extra
            else {
                throw LorikeetError(
                    .malformed, source, "\"\(key)\" holds an id outside the vocabulary",
                    expected: "0 to \(tokenizer.idBound - 1)", got: "\(value)")
            }
            return id
        }
    }
}
