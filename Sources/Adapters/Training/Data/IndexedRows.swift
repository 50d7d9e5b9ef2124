import LorikeetQuant
import LorikeetRuntime

/// The rows of a JSONL file, each tokenized when it is asked for.
///
/// One pass over the file tokenizes every row once, to count its tokens and to find what is wrong with
/// it, and keeps 32 bytes a row. Reading a row again costs far less than a step with it: text is
/// tokenized at 7 to 11 MB/s.
struct IndexedRows: TrainingRows {
    /// What is kept of a row.
    private struct Entry {
        /// Where its line begins.
        var offset: Int
        /// Tells whether it is still the same row, and which rows are equal.
        var fingerprint: UInt64
        var byteCount: Int32
        var line: Int32
        var tokenCount: Int32
        var targetCount: Int32

        // A line has 2²⁸ bytes at most, and a row no more tokens than its line has bytes but for the
        // few that a template or a tokenizer adds.
        init(_ row: TrainingRow, _ line: DataFile.Line) {
            offset = line.offset
            fingerprint = row.fingerprint
            byteCount = Int32(line.bytes.count)
            self.line = Int32(line.number)
            tokenCount = Int32(row.inputIDs.count)
            targetCount = Int32(row.targetCount)
        }
    }

    /// The file's SHA-256.
    let digest: String
    /// What was read, cut and dropped.
    let counts: DataReport.File
    /// The tokens that occur.
    let tokens: Set<Int32>
    private let file: DataFile
    private let reader: TrainingRowReader
    private let maximumLength: Int
    private let entries: [Entry]

    /// Reads the file at `path` once.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - reader: makes a line's object a row.
    ///   - maximumLength: tokens a row; what is past them is cut off.
    ///   - pool: the threads to tokenize on.
    ///   - bad: called with what is wrong with a line; where it throws, reading ends.
    /// - Throws: `.notFound`, `.io`, and what `bad` throws.
    init(
        _ path: String, reader: TrainingRowReader, maximumLength: Int, on pool: ThreadPool,
        bad: (LorikeetError) throws -> Void
    ) throws {
        precondition(maximumLength > 1, "rows of \(maximumLength) tokens have nothing to predict")
        let file = try DataFile(path: path)
        var counts = DataReport.File(path: path)
        var entries: [Entry] = []
        var tokens: Set<Int32> = []
        digest = try file.forEachPart { lines in
            // Rows are tokenized on all threads, and counted in the order of the file.
            let read = pool.map(lines) { line in
                Result { try reader.row(line, of: path) }
            }
            for (line, result) in zip(lines, read) {
                do {
                    let whole = try result.get()
                    let row = whole.cut(to: maximumLength)
                    counts.add(row, of: whole)
                    guard row.targetCount > 0 else { continue }
                    entries.append(Entry(row, line))
                    tokens.formUnion(row.inputIDs)
                } catch let error as LorikeetError {
                    try bad(error)
                }
            }
        }
        self.file = file
        self.reader = reader
        self.maximumLength = maximumLength
        self.counts = counts
        self.entries = entries
        self.tokens = tokens
    }

    /// Bytes in memory.
    var memory: Int { entries.count * MemoryLayout<Entry>.stride }

    var count: Int { entries.count }
    func tokenCount(at index: Int) -> Int { Int(entries[index].tokenCount) }
    func targetCount(at index: Int) -> Int { Int(entries[index].targetCount) }
    func name(of index: Int) -> String { "\(file.path), line \(entries[index].line)" }
    func fingerprint(of index: Int) -> UInt64 { entries[index].fingerprint }

    /// - Throws: `.mismatch` where the line no longer holds the row that was counted; `.io`.
    func row(at index: Int) throws -> TrainingRow {
        let entry = entries[index]
        let name = name(of: index)
        let bytes = try file.bytes(at: entry.offset, count: Int(entry.byteCount))
        let row = bytes.withUnsafeBytes { bytes in
            try? reader.row(JSON(parsing: bytes, source: name), source: name).cut(to: maximumLength)
        }
        guard let row, row.fingerprint == entry.fingerprint else {
            throw LorikeetError(
                .mismatch, name,
                "the file changed while it was in use: the line no longer holds the row it held",
                advice: "Leave a file alone while a run reads it.")
        }
        return row
    }

    /// - Throws: `.malformed` where there is nothing to learn.
    func requireTargets() throws {
        guard counts.rows > 0 else {
            throw LorikeetError(.malformed, file.path, "the data set is empty")
        }
        guard count > 0 else {
            throw LorikeetError(
                .malformed, file.path,
                "all tokens of all \(counts.rows) rows are masked: there is nothing to learn from",
                advice:
                    "Rows need an assistant's turn, a completion or text within \(maximumLength) tokens."
            )
        }
    }
}

extension TrainingRowReader {
    /// The whole row of a line.
    fileprivate func row(_ line: DataFile.Line, of path: String) throws -> TrainingRow {
        let source = "\(path), line \(line.number)"
        guard line.number <= Int32.max else {
            throw LorikeetError(.unsupported, source, "more than \(Int32.max) lines")
        }
        return try row(JSON(parsing: line.bytes, source: source), source: source)
    }
}

extension DataReport.File {
    /// Counts one row, and what cutting made of it.
    fileprivate mutating func add(_ row: TrainingRow, of whole: TrainingRow) {
        rows += 1
        guard row.targetCount > 0 else {
            if whole.targetCount > 0 { cutOffRows += 1 } else { maskedRows += 1 }
            return
        }
        let removed = whole.inputIDs.count - row.inputIDs.count
        truncatedRows += removed > 0 ? 1 : 0
        truncatedTokens += removed
        longestRow = max(longestRow, whole.inputIDs.count)
    }
}

extension ThreadPool {
    /// `body` of each element, in their order.
    func map<Element, Result>(
        _ elements: [Element], _ body: (Element) -> Result
    ) -> [Result] {
        [Result](unsafeUninitializedCapacity: elements.count) { results, count in
            let base = results.baseAddress
            run(pieces: elements.count) { _, index in
                base?.advanced(by: index).initialize(to: body(elements[index]))
            }
            count = elements.count
        }
    }
}

extension TrainingRow {
    /// The first `count` tokens.
    fileprivate func cut(to count: Int) -> TrainingRow {
        guard inputIDs.count > count else { return self }
        return TrainingRow(
            inputIDs: Array(inputIDs.prefix(count)), labels: Array(labels.prefix(count)))
    }

    /// FNV-1a over tokens and labels, 32 bits at a time: equal rows have the same, others by a chance of
    /// 2⁻⁶⁴ or so.
    fileprivate var fingerprint: UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for list in [inputIDs, labels] {
            for value in list {
                hash = (hash ^ UInt64(UInt32(bitPattern: value))) &* 0x100_0000_01B3
                // The product moves bits up alone: brought down, they meet the next word.
                hash ^= hash >> 29
            }
        }
        return hash
    }
}
