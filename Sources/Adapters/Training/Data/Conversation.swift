import LorikeetRuntime

/// A chat as tokens, with the assistant's turns as targets.
///
/// The template says where a turn lies. It may mark them by `{% generation %}`, as for transformers'
/// `return_assistant_tokens_mask`. Otherwise the conversation before a turn, rendered up to where an answer
/// begins, and the conversation with it are both beginnings of the whole text, and what is between them is
/// what the model would have had to write.
struct Conversation {
    let messages: [ChatMessage]
    let tools: JSON?
    let template: ChatTemplate
    /// File and line, for errors.
    let source: String
    /// Turns before this message are no targets.
    var firstTarget = 0

    /// - Throws: `.malformed` when the template fails, rewrites earlier turns as the chat goes on, or the
    ///   tokenizer does not give back the text.
    func row(_ tokenizer: Tokenizer) throws -> TrainingRow {
        let (text, marked) = try naming(messages.count) {
            try template.renderMarked(messages, tools: tools)
        }
        let spans = try marked ?? assistantSpans(text)
        // the template has written the special tokens itself
        let ids = tokenizer.encode(text, addSpecialTokens: false)
        var labels = [Int32](repeating: TrainingRow.masked, count: ids.count)
        guard !spans.isEmpty else { return TrainingRow(inputIDs: ids, labels: labels) }
        let alignment = try TokenAlignment(ids, of: text, tokenizer, source: source)
        for span in spans {
            let tokens = alignment.tokens(in: span)
            for index in marked == nil ? trimmed(tokens, ids, tokenizer) : tokens {
                labels[index] = ids[index]
            }
        }
        return TrainingRow(inputIDs: ids, labels: labels)
    }

    /// Where the assistant's turns lie in `text`, in bytes.
    private func assistantSpans(_ text: String) throws -> [Range<Int>] {
        var spans: [Range<Int>] = []
        for (index, message) in messages.enumerated()
        where message.role == "assistant" && index >= firstTarget {
            let before = try render(index, addGenerationPrompt: true)
            let after =
                index + 1 == messages.count
                ? text : try render(index + 1, addGenerationPrompt: false)
            for prefix in [before, after] where !text.utf8.starts(with: prefix.utf8) {
                throw LorikeetError(
                    .unsupported, source,
                    "the chat template does not write message \(index + 1) the same way once more messages "
                        + "follow, so the assistant's turns cannot be told apart",
                    advice:
                        "Use prompt and completion rows, or a template that keeps what it has written."
                )
            }
            guard before.utf8.count <= after.utf8.count else { continue }
            spans.append(before.utf8.count..<after.utf8.count)
        }
        return spans
    }

    /// The text of the first `count` messages.
    func render(_ count: Int, addGenerationPrompt: Bool) throws -> String {
        try naming(count) {
            try template.render(
                Array(messages.prefix(count)), addGenerationPrompt: addGenerationPrompt,
                tools: tools)
        }
    }

    /// Says in the template's errors which messages it was given.
    private func naming<Result>(_ count: Int, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch var error as LorikeetError {
            error.problem =
                "the chat template fails on the first \(count) messages: \(error.problem)"
            error.subject = source
            throw error
        }
    }

    /// The turn up to its special token: templates set a newline after it that is nobody's to write.
    private func trimmed(_ tokens: Range<Int>, _ ids: [Int32], _ tokenizer: Tokenizer) -> Range<Int>
    {
        var end = tokens.upperBound
        while end > tokens.lowerBound, !tokenizer.isSpecial(ids[end - 1]),
            tokenizer.decode([ids[end - 1]]).allSatisfy(\.isWhitespace)
        { end -= 1 }
        guard end > tokens.lowerBound, tokenizer.isSpecial(ids[end - 1]) else { return tokens }
        return tokens.lowerBound..<end
    }
}
