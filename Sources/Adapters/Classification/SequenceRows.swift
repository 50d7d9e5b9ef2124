import LorikeetQuant
public import LorikeetRuntime

/// Texts, or pairs of them, with what each is to be judged as, tokenized.
public struct SequenceRows: Sendable {
    /// The columns of a table that a task reads.
    public struct Columns: Sendable, Equatable {
        /// One text, or two of a pair.
        public var texts: [String]
        /// The class or the number.
        public var label: String

        /// Names the columns.
        public init(texts: [String], label: String) {
            self.texts = texts
            self.label = label
        }
    }

    /// The rows in the order of the file.
    public let rows: [TrainingRow]
    /// What they are to be judged as.
    public let task: SequenceTask
    /// The file's path.
    public let path: String
    /// The file's SHA-256.
    public let digest: String
    /// The line of each row.
    let lines: [Int]
    /// What was read and cut.
    let counts: DataReport.File

    /// Reads the table at `path`.
    ///
    /// - Parameters:
    ///   - path: a TSV, CSV or JSONL file.
    ///   - columns: where texts and labels are.
    ///   - kind: what labels are.
    ///   - labels: the names of the classes; nil for those in the file, by number if all are numbers, else by
    ///     name.
    ///   - encoder: whose tokenizer.
    ///   - maximumLength: tokens a row; of a pair the longer text is cut first.
    /// - Throws: what `TextTable` throws; `.malformed` for a label that is no number or no class.
    public init(
        _ path: String, columns: Columns, kind: SequenceTask.Kind, labels: [String]? = nil,
        encoder: TextEncoder, maximumLength: Int
    ) throws {
        guard (1...2).contains(columns.texts.count) else {
            throw LorikeetError(
                .invalidArgument, "--text-columns", "a row has one text or two", expected: "1 or 2",
                got: "\(columns.texts.count)")
        }
        let table = try TextTable(path: path, columns: columns.texts + [columns.label])
        let (names, texts) = (
            table.rows.map { $0.fields[columns.texts.count] }, columns.texts.count
        )
        let task = SequenceTask(
            kind: kind, labels: labels ?? (kind == .classification ? Self.classes(names) : []))
        var counts = DataReport.File(path: path)
        // Tokenizing takes most of the time: on all threads.
        let encoded = encoder.compute.pool.map(table.rows) { row in
            encoder.tokenizer.encode(
                row.fields[0], pair: texts > 1 ? row.fields[1] : nil, maximumLength: maximumLength)
        }
        var rows: [TrainingRow] = []
        for (row, encoded) in zip(table.rows, encoded) {
            counts.rows += 1
            counts.truncatedRows += encoded.cut > 0 ? 1 : 0
            counts.truncatedTokens += encoded.cut
            counts.longestRow = max(counts.longestRow, encoded.ids.count + encoded.cut)
            rows.append(
                TrainingRow(
                    inputIDs: encoded.ids, firstTextCount: encoded.firstTextCount,
                    target: try Self.target(
                        row.fields[texts], task, source: "\(path), line \(row.line)")))
        }
        (self.rows, self.task, self.path, self.counts) = (rows, task, path, counts)
        lines = table.rows.map(\.line)
        digest = Digest.sha256(of: try MappedFile(path: path))
    }

    private static func classes(_ names: [String]) -> [String] {
        let distinct = Array(Set(names))
        let numbers = distinct.compactMap { Int($0) }
        return numbers.count == distinct.count
            ? distinct.sorted { (Int($0) ?? 0) < (Int($1) ?? 0) } : distinct.sorted()
    }

    private static func target(
        _ field: String, _ task: SequenceTask, source: String
    ) throws -> TrainingRow.Target {
        switch task.kind {
        case .regression:
            guard let value = Float(field), value.isFinite else {
                throw LorikeetError(
                    .malformed, source, "the label is no number", got: String(reflecting: field))
            }
            return .value(value)
        case .classification:
            guard let index = task.labels.firstIndex(of: field) else {
                throw LorikeetError(
                    .malformed, source, "the label is none of the classes",
                    expected: task.labels.joined(separator: ", "), got: String(reflecting: field))
            }
            return .label(index)
        }
    }
}

extension SequenceRows: TrainingRows {
    /// How many rows there are.
    public var count: Int { rows.count }
    /// The tokens of a row.
    public func tokenCount(at index: Int) -> Int { rows[index].inputIDs.count }
    /// 1.
    public func targetCount(at index: Int) -> Int { 1 }
    /// A row.
    public func row(at index: Int) -> TrainingRow { rows[index] }
    /// `dev.tsv, line 7`.
    public func name(of index: Int) -> String { "\(path), line \(lines[index])" }
}

extension TrainingData {
    /// The rows of a table, and those that are validated with.
    ///
    /// - Parameters:
    ///   - table: the rows.
    ///   - validation: a fraction of them to set aside, or nothing; a file's rows are `other`.
    ///   - other: rows of a file of their own.
    ///   - seed: what a split follows from.
    /// - Throws: for a fraction that cannot be.
    init(
        _ table: SequenceRows, validation: Validation?, other: SequenceRows?, seed: UInt64
    ) throws {
        var (used, held): (any TrainingRows, (any TrainingRows)?) = (table, other)
        var split: String?
        if case .split(let fraction) = validation {
            let parts = try Self.split(table.count, fraction: fraction, seed: seed)
            used = RowSelection(rows: table, indices: parts.training)
            held = RowSelection(rows: table, indices: parts.validation)
            split = "\(fraction) of the rows, seed \(seed)"
        }
        rows = used
        self.validation = held
        digest = table.digest
        validationDigest = other?.digest
        let all = table.rows + (other?.rows ?? [])
        tokens = Set(all.flatMap(\.inputIDs))
        // Tokens and labels, and what an array takes beside them.
        memory = all.reduce(0) { $0 + 8 * $1.inputIDs.count + 144 }
        report = DataReport(
            file: table.counts, training: .init(used), validationFile: other?.counts,
            validation: held.map { .init($0) }, split: split)
    }
}
