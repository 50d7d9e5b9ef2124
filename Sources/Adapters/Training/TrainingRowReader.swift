import LorikeetRuntime

/// Turns one object of a data set into tokens and targets.
struct TrainingRowReader {
    let tokenizer: Tokenizer
    let chatTemplate: ChatTemplate?

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

    private func string(_ members: JSON.Object, _ key: String, _ source: String) throws -> String {
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
        guard let chatTemplate else {
            throw LorikeetError(
                .unsupported, source, "a row of messages, but the model has no chat template",
                advice:
                    "Give the model's folder a chat_template.jinja, or use prompt and completion.")
        }
        let conversation = Conversation(
            messages: messages, tools: tools, template: chatTemplate, source: source,
            firstTarget: firstTarget)
        return try conversation.row(tokenizer)
    }

    private func instruction(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        let instruction = try string(members, "instruction", source)
        let output = try string(members, "output", source)
        let input =
            members["input"].map(\.isNull) ?? true ? "" : try string(members, "input", source)
        if chatTemplate != nil {
            let question = input.isEmpty ? instruction : instruction + "\n\n" + input
            return try chat(
                [
                    ChatMessage(role: "user", content: question),
                    ChatMessage(role: "assistant", content: output),
                ], tools: nil, source)
        }
        return completion(prompt: Self.alpacaPrompt(instruction, input), completion: output)
    }

    /// The prompt of Stanford's Alpaca, github.com/tatsu-lab/stanford_alpaca.
    static func alpacaPrompt(_ instruction: String, _ input: String) -> String {
        let context = input.isEmpty ? "" : ", paired with an input that provides further context"
        let section = input.isEmpty ? "" : "### Input:\n\(input)\n\n"
        return "Below is an instruction that describes a task\(context). "
            + "Write a response that appropriately completes the request.\n\n"
            + "### Instruction:\n\(instruction)\n\n\(section)### Response:\n"
    }

    // MARK: Texts

    private func completion(_ members: JSON.Object, _ source: String) throws -> TrainingRow {
        completion(
            prompt: try string(members, "prompt", source),
            completion: try string(members, "completion", source))
    }

    /// The tokens of both as one text, where the prompt keeps the tokens it has alone, which are what
    /// the model will be asked with; otherwise each tokenized by itself.
    func completion(prompt: String, completion: String) -> TrainingRow {
        var promptIDs = tokenizer.encode(prompt, addSpecialTokens: true)
        // a tokenizer that ends every text must not end the prompt
        if let end = tokenizer.endOfText, promptIDs.last == end,
            tokenizer.encode(prompt, addSpecialTokens: false).last != end
        {
            promptIDs.removeLast()
        }
        var ids = tokenizer.encode(prompt + completion, addSpecialTokens: true)
        if !ids.starts(with: promptIDs) {
            ids = promptIDs + tokenizer.encode(completion, addSpecialTokens: false)
        }
        ids = ended(ids)
        let ignored = repeatElement(TrainingRow.ignored, count: promptIDs.count)
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
            let labels = try integers(members, "labels", source, allowing: TrainingRow.ignored)
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
