import Foundation
public import LorikeetRuntime

/// A data set of preferences as tokens: pairs of answers to one prompt, from a JSONL file.
///
/// Each line is an object of one of these shapes; blank lines are passed over:
///
///     {"prompt": "…", "chosen": "…", "rejected": "…"}
///     {"prompt": [messages], "chosen": [messages], "rejected": [messages]}
///
/// The second is TRL's conversational format: what is learned from are the assistant's turns in "chosen" and
/// "rejected", through the chat template.
public struct PreferenceData: Sendable {
    /// The rows in the order of the file: chosen, rejected, chosen, rejected.
    public let rows: [TrainingRow]
    /// Pairs left out because one of both has no target within the length.
    public let skippedCount: Int
    /// Pairs of which an end was cut off at the maximum length.
    public let truncatedCount: Int

    /// Reads and tokenizes a file.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: how chats become text; rows of messages need one.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    /// - Throws: `.malformed` naming the line, and for a file without pairs.
    public init(
        jsonl path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?, maximumLength: Int
    ) throws {
        precondition(maximumLength > 1, "rows of \(maximumLength) tokens have nothing to predict")
        let file = try MappedFile(path: path)
        let reader = TrainingRowReader(tokenizer: tokenizer, chatTemplate: chatTemplate)
        var rows: [TrainingRow] = []
        var (skipped, truncated) = (0, 0)
        try withExtendedLifetime(file) {
            try TrainingData.forEachLine(file.bytes) { line, number in
                let source = "\(path), line \(number)"
                var pair = try reader.pair(JSON(parsing: line, source: source), source: source)
                let isTruncated = pair.contains { $0.inputIDs.count > maximumLength }
                for index in pair.indices {
                    pair[index].inputIDs = Array(pair[index].inputIDs.prefix(maximumLength))
                    pair[index].labels = Array(pair[index].labels.prefix(maximumLength))
                }
                guard pair.allSatisfy({ $0.targetCount > 0 }) else {
                    skipped += 1
                    return
                }
                truncated += isTruncated ? 1 : 0
                rows += pair
            }
        }
        guard !rows.isEmpty else {
            throw LorikeetError(
                .malformed, path,
                skipped == 0
                    ? "the data set is empty"
                    : "in each of its \(skipped) pairs one answer has nothing to learn from",
                advice: "Answers need an assistant's turn or text within \(maximumLength) tokens.")
        }
        self.rows = rows
        skippedCount = skipped
        truncatedCount = truncated
    }

    /// What a user should know of pairs that were cut or left out.
    public var notes: [String] {
        var notes: [String] = []
        if truncatedCount > 0 {
            notes.append("\(truncatedCount) pairs were cut at the maximum length")
        }
        if skippedCount > 0 {
            notes.append("\(skippedCount) pairs were left out: one answer has no target")
        }
        return notes
    }
}

extension TrainingRowReader {
    /// The rows of one object's chosen and rejected answer.
    fileprivate func pair(_ json: JSON, source: String) throws -> [TrainingRow] {
        let expected = "prompt, chosen and rejected: three strings, or three lists of messages"
        guard let members = json.object, let prompt = members["prompt"],
            let chosen = members["chosen"], let rejected = members["rejected"]
        else {
            throw LorikeetError(
                .malformed, source, "a row that is no preference", expected: expected,
                got: json.object.map { "the keys \($0.keys.joined(separator: ", "))" })
        }
        return try [chosen, rejected].map { answer in
            if let prompt = prompt.string, let answer = answer.string {
                return completion(prompt: prompt, completion: answer)
            }
            guard let prompt = prompt.array, let answer = answer.array else {
                throw LorikeetError(
                    .malformed, source, "prompt and answers of different kinds",
                    expected: expected)
            }
            let tools = members["tools"].flatMap { $0.isNull ? nil : $0 }
            return try chat(
                (prompt + answer).map { try ChatMessage($0, source: source) }, tools: tools, source,
                firstTarget: prompt.count)
        }
    }
}
