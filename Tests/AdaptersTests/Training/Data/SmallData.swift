import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

extension TrainingRows {
    /// All rows, read one after the other.
    func all() throws -> [TrainingRow] { try (0..<count).map { try row(at: $0) } }
}

/// A folder with data files of texts that the tokenizer of bytes reads.
struct SmallData {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Writes lines to rows.jsonl, or to the file of that name.
    @discardableResult
    func write(_ text: String, to name: String = "rows.jsonl") throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder[name]))
        return folder[name]
    }

    /// A data set of rows.jsonl.
    func read(
        validation: TrainingData.Validation? = nil, seed: UInt64 = 0, pool: ThreadPool? = nil,
        maximumLength: Int = 100
    ) throws -> TrainingData {
        try TrainingData(
            jsonl: folder["rows.jsonl"], tokenizer: TrainingDataTests.byteTokenizer(),
            chatTemplate: nil, maximumLength: maximumLength, pool: pool, validation: validation,
            seed: seed)
    }

    /// One line a text.
    static func lines(_ texts: [String]) -> String {
        texts.map { "{\"text\": \"\($0)\"}\n" }.joined()
    }
}
