public import LorikeetQuant
public import LorikeetRuntime

/// A data set: the rows of a JSONL file that are trained on, and those that are validated with.
///
/// Each line is an object of one of these shapes; blank lines are passed over:
///
///     {"messages": [{"role": "user", "content": "…"}, …]}     loss on what the assistant says
///     {"prompt": "…", "completion": "…"}                      loss on the completion
///     {"instruction": "…", "input": "…", "output": "…"}       the same, as a chat or Alpaca's prompt
///     {"text": "…"}                                           loss on everything
///     {"input_ids": [1, 2, …], "labels": [-100, 2, …]}        as given
///
/// Files may be larger than memory: a row stays in its file until it is asked for, and 32 bytes of it
/// in memory, 40 in a set that is split.
public struct TrainingData: Sendable {
    /// What is validated with.
    public enum Validation: Sendable, Equatable {
        /// The rows of another JSONL file.
        case file(String)
        /// A fraction of the rows, drawn at random; these are not trained on.
        case split(Double)
    }

    /// The rows to train on, in the order of the file.
    public let rows: any TrainingRows
    /// The rows to validate with, in the order of their file; nil unless some were asked for.
    public let validation: (any TrainingRows)?
    /// What was read, cut and left out.
    public let report: DataReport
    /// The data file's SHA-256.
    public let digest: String
    /// The validation file's SHA-256; nil without one.
    public let validationDigest: String?
    /// The tokens that occur, in rows of either kind.
    public let tokens: Set<Int32>
    /// Bytes of what is kept in memory.
    public let memory: Int

    /// Reads a file once, to count the tokens of its rows.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: how chats become text; rows of messages need one.
    ///   - prompt: how instructions are put; nil for as chats where there is a template.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    ///   - pool: the threads to tokenize on; nil for the caller's own.
    ///   - validation: what is validated with; nil for nothing.
    ///   - seed: what a split follows from.
    /// - Throws: `.malformed` naming the line: text that is no JSON, an unknown shape, an id outside the
    ///   vocabulary, a chat that the template refuses; and for a file without rows or without targets.
    public init(
        jsonl path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?,
        prompt: PromptStyle? = nil, maximumLength: Int, pool: ThreadPool? = nil,
        validation: Validation? = nil, seed: UInt64 = 0
    ) throws {
        let reader = TrainingRowReader(
            tokenizer: tokenizer, chatTemplate: chatTemplate, style: prompt)
        let pool = pool ?? ThreadPool(threads: 1)
        func read(_ path: String) throws -> IndexedRows {
            let rows = try IndexedRows(
                path, reader: reader, maximumLength: maximumLength, on: pool
            ) {
                throw $0
            }
            try rows.requireTargets()
            return rows
        }
        let all = try read(path)
        digest = all.digest
        switch validation {
        case nil:
            rows = all
            (self.validation, validationDigest) = (nil, nil)
            (tokens, memory) = (all.tokens, all.memory)
            report = DataReport(file: all.counts, training: .init(all))
        case .file(let path):
            let other = try read(path)
            rows = all
            (self.validation, validationDigest) = (other, other.digest)
            (tokens, memory) = (all.tokens.union(other.tokens), all.memory + other.memory)
            report = DataReport(
                file: all.counts, training: .init(all), validationFile: other.counts,
                validation: .init(other),
                duplicates: Self.duplicates(
                    all.fingerprints(all.indices), of: other.fingerprints(other.indices)))
        case .split(let fraction):
            let split = try Self.split(all.count, fraction: fraction, seed: seed)
            let training = RowSelection(rows: all, indices: split.training)
            let held = RowSelection(rows: all, indices: split.validation)
            rows = training
            (self.validation, validationDigest) = (held, nil)
            (tokens, memory) = (
                all.tokens, all.memory + all.count * MemoryLayout<Int>.stride
            )
            report = DataReport(
                file: all.counts, training: .init(training), validation: .init(held),
                split: "\(fraction) of the rows, seed \(seed)",
                duplicates: Self.duplicates(
                    all.fingerprints(split.training), of: all.fingerprints(split.validation)))
        }
    }

    /// Reads a file of preferences, {"prompt", "chosen", "rejected"} a line, each a pair of rows.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: how chats become text; preferences of messages need one.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    /// - Throws: `.malformed` naming the line, and for a file without pairs that have targets.
    public init(
        preferences path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?,
        maximumLength: Int
    ) throws {
        let reader = TrainingRowReader(tokenizer: tokenizer, chatTemplate: chatTemplate)
        let pairs = try PreferencePairs(path, reader: reader, maximumLength: maximumLength)
        rows = pairs
        (validation, validationDigest) = (nil, nil)
        report = DataReport(file: pairs.counts, training: .init(pairs))
        (digest, tokens, memory) = (pairs.digest, pairs.tokens, pairs.memory)
    }

    /// Draws a fraction of so many rows at random: at least one, and never all.
    ///
    /// - Returns: the indices of either part, ascending.
    /// - Throws: `.invalidArgument` for a fraction outside 0 to 1, or fewer rows than two.
    public static func split(
        _ count: Int, fraction: Double, seed: UInt64
    ) throws -> (training: [Int], validation: [Int]) {
        guard fraction > 0, fraction < 1, count > 1 else {
            throw LorikeetError(
                .invalidArgument, "--validation-split", "cannot divide \(count) rows",
                expected: "a fraction between 0 and 1, and at least 2 rows", got: "\(fraction)")
        }
        let held = min(max(Int((Double(count) * fraction).rounded()), 1), count - 1)
        var order = Array(0..<count)
        // The complement: the seed itself gives the order of the rows.
        var generator = SeededGenerator(seed: ~seed)
        generator.shuffle(&order)
        return (order[held...].sorted(), order[..<held].sorted())
    }

    private static func duplicates(_ training: [UInt64], of validation: [UInt64]) -> Int {
        let known = Set(validation)
        return training.count { known.contains($0) }
    }
}

extension IndexedRows {
    fileprivate var indices: Range<Int> { 0..<count }

    fileprivate func fingerprints(_ indices: some Sequence<Int>) -> [UInt64] {
        indices.map { fingerprint(of: $0) }
    }
}
