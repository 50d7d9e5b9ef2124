import Foundation
public import LorikeetRuntime

/// A data set as tokens: the rows of a JSONL file, tokenized once.
///
/// Each line is an object of one of these shapes; blank lines are passed over:
///
///     {"messages": [{"role": "user", "content": "…"}, …]}     loss on what the assistant says
///     {"prompt": "…", "completion": "…"}                      loss on the completion
///     {"instruction": "…", "input": "…", "output": "…"}       the same, as a chat or Alpaca's prompt
///     {"text": "…"}                                           loss on everything
///     {"input_ids": [1, 2, …], "labels": [-100, 2, …]}        as given
public struct TrainingData: Sendable {
    /// The rows in the order of the file.
    public let rows: [TrainingRow]
    /// Rows left out because no target was in them: no assistant's turn, or all of it past the length.
    public let skippedCount: Int
    /// Rows of which the end was cut off at the maximum length.
    public let truncatedCount: Int

    /// Reads and tokenizes a file.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: how chats become text; rows of messages need one.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    /// - Throws: `.malformed` naming the line: text that is no JSON, an unknown shape, an id outside the
    ///   vocabulary, a chat that the template refuses; and for a file without rows or without targets.
    public init(
        jsonl path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?, maximumLength: Int
    ) throws {
        precondition(maximumLength > 1, "rows of \(maximumLength) tokens have nothing to predict")
        let file = try MappedFile(path: path)
        let reader = TrainingRowReader(tokenizer: tokenizer, chatTemplate: chatTemplate)
        var rows: [TrainingRow] = []
        var skipped = 0
        var truncated = 0
        try withExtendedLifetime(file) {
            try TrainingData.forEachLine(file.bytes) { line, number in
                let source = "\(path), line \(number)"
                var row = try reader.row(JSON(parsing: line, source: source), source: source)
                let isTruncated = row.inputIDs.count > maximumLength
                if isTruncated {
                    row.inputIDs.removeSubrange(maximumLength...)
                    row.labels.removeSubrange(maximumLength...)
                }
                // nothing predicts a row's first token
                guard row.labels.dropFirst().contains(where: { $0 != TrainingRow.ignored }) else {
                    skipped += 1
                    return
                }
                truncated += isTruncated ? 1 : 0
                rows.append(row)
            }
        }
        guard rows.count + skipped > 0 else {
            throw LorikeetError(.malformed, path, "the data set is empty")
        }
        guard !rows.isEmpty else {
            throw LorikeetError(
                .malformed, path,
                "all tokens of all \(skipped) rows are masked: there is nothing to learn from",
                advice:
                    "Rows need an assistant's turn, a completion or text within \(maximumLength) tokens."
            )
        }
        self.rows = rows
        skippedCount = skipped
        truncatedCount = truncated
    }

    /// What a user should know of rows that were cut or left out.
    public var notes: [String] {
        var notes: [String] = []
        if truncatedCount > 0 {
            notes.append("\(truncatedCount) rows were cut at the maximum length")
        }
        if skippedCount > 0 {
            notes.append("\(skippedCount) rows were left out: none of their tokens is a target")
        }
        return notes
    }

    /// Calls `body` with each line that holds more than space, and its number from 1.
    static func forEachLine(
        _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, Int) throws -> Void
    ) rethrows {
        var start = 0
        var number = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: 0x0A) ?? bytes.count
            number += 1
            let line = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            if !line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) {
                try body(line, number)
            }
            start = end + 1
        }
    }
}

extension TrainingRow {
    /// The label of a token that is no target.
    static let ignored: Int32 = -100
}
