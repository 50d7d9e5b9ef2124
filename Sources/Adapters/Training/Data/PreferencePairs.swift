import LorikeetRuntime

/// Preferences as examples to train on: pairs of answers to one prompt, from a JSONL file.
///
/// Each line is an object of one of these shapes; blank lines are passed over:
///
///     {"prompt": "…", "chosen": "…", "rejected": "…"}
///     {"prompt": [messages], "chosen": [messages], "rejected": [messages]}
///
/// The second is TRL's conversational format: what is learned from are the assistant's turns in "chosen" and
/// "rejected", through the chat template. All pairs are kept in memory as tokens: sets of preferences are
/// small.
struct PreferencePairs: TrainingRows {
    /// The chosen and the rejected answer, by line.
    private var pairs: [(rows: [TrainingRow], line: Int)] = []
    private let path: String
    /// What was read, cut and left out; tokens are those of both answers.
    private(set) var counts: DataReport.File
    /// The file's SHA-256.
    private(set) var digest = ""
    /// The tokens that occur.
    private(set) var tokens: Set<Int32> = []

    /// Reads the file at `path`.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - reader: makes prompts and answers rows.
    ///   - maximumLength: tokens an answer with its prompt; what is past them is cut off.
    /// - Throws: `.malformed` naming the line, and for a file without pairs.
    init(_ path: String, reader: TrainingRowReader, maximumLength: Int) throws {
        precondition(maximumLength > 1, "rows of \(maximumLength) tokens have nothing to predict")
        self.path = path
        counts = DataReport.File(path: path)
        digest = try DataFile(path: path).forEachPart { lines in
            for line in lines {
                let source = "\(path), line \(line.number)"
                add(
                    try reader.pair(JSON(parsing: line.bytes, source: source), source: source),
                    line: line.number, maximumLength: maximumLength)
            }
        }
        guard !pairs.isEmpty else {
            throw LorikeetError(
                .malformed, path,
                counts.rows == 0
                    ? "the data set is empty"
                    : "in each of its \(counts.rows) pairs one answer has nothing to learn from",
                advice: "Answers need an assistant's turn or text within \(maximumLength) tokens.")
        }
    }

    private mutating func add(_ whole: [TrainingRow], line: Int, maximumLength: Int) {
        let pair = whole.map { row in
            TrainingRow(
                inputIDs: Array(row.inputIDs.prefix(maximumLength)),
                labels: Array(row.labels.prefix(maximumLength)))
        }
        counts.rows += 1
        guard pair.allSatisfy({ $0.targetCount > 0 }) else {
            if whole.allSatisfy({ $0.targetCount > 0 }) {
                counts.cutOffRows += 1
            } else {
                counts.maskedRows += 1
            }
            return
        }
        func length(_ rows: [TrainingRow]) -> Int { rows.reduce(0) { $0 + $1.inputIDs.count } }
        let removed = length(whole) - length(pair)
        counts.truncatedRows += removed > 0 ? 1 : 0
        counts.truncatedTokens += removed
        counts.longestRow = max(counts.longestRow, length(whole))
        for row in pair { tokens.formUnion(row.inputIDs) }
        pairs.append((pair, line))
    }

    var count: Int { pairs.count }
    func tokenCount(at index: Int) -> Int {
        pairs[index].rows.reduce(0) { $0 + $1.inputIDs.count }
    }
    func targetCount(at index: Int) -> Int {
        pairs[index].rows.reduce(0) { $0 + $1.targetCount }
    }
    /// The chosen answer: what a single row of a pair can stand for.
    func row(at index: Int) -> TrainingRow { pairs[index].rows[0] }
    func example(at index: Int) -> [TrainingRow] { pairs[index].rows }
    func name(of index: Int) -> String { "\(path), line \(pairs[index].line)" }

    /// Bytes in memory.
    var memory: Int {
        // An array's own header, and what the allocator adds.
        let header = 32 + 16
        return pairs.reduce(0) { sum, pair in
            pair.rows.reduce(sum + header) {
                $0 + MemoryLayout<TrainingRow>.stride
                    + 2 * (header + $1.inputIDs.count * MemoryLayout<Int32>.stride)
            }
        }
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
                return completion(
                    Prompt(text: prompt, addsSpecialTokens: true), completion: answer)
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
