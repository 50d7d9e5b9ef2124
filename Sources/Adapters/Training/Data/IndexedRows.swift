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
    }

    /// The file's SHA-256.
    let digest: String
    /// What was read, cut and dropped.
    let counts: DataReport.File
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
    ///   - bad: called with what is wrong with a line; where it throws, reading ends.
    /// - Throws: `.notFound`, `.io`, and what `bad` throws.
    init(
        _ path: String, reader: TrainingRowReader, maximumLength: Int,
        bad: (LorikeetError) throws -> Void
    ) throws {
        precondition(maximumLength > 1, "rows of \(maximumLength) tokens have nothing to predict")
        let file = try DataFile(path: path)
        var counts = DataReport.File(path: path)
        var entries: [Entry] = []
        digest = try file.forEachLine { line in
            let source = "\(path), line \(line.number)"
            do {
                guard let number = Int32(exactly: line.number) else {
                    throw LorikeetError(.unsupported, source, "more than \(Int32.max) lines")
                }
                let whole = try reader.row(
                    JSON(parsing: line.bytes, source: source), source: source)
                let row = whole.cut(to: maximumLength)
                counts.rows += 1
                guard row.targetCount > 0 else {
                    if whole.targetCount > 0 {
                        counts.cutOffRows += 1
                    } else {
                        counts.maskedRows += 1
                    }
                    return
                }
                if row.inputIDs.count < whole.inputIDs.count {
                    counts.truncatedRows += 1
                    counts.truncatedTokens += whole.inputIDs.count - row.inputIDs.count
                }
                counts.longestRow = max(counts.longestRow, whole.inputIDs.count)
                // A line of 2²⁸ bytes is the longest, and a row has fewer tokens than 2³¹.
                entries.append(
                    Entry(
                        offset: line.offset, fingerprint: row.fingerprint,
                        byteCount: Int32(line.bytes.count), line: number,
                        tokenCount: Int32(row.inputIDs.count), targetCount: Int32(row.targetCount)))
            } catch let error as LorikeetError {
                try bad(error)
            }
        }
        self.file = file
        self.reader = reader
        self.maximumLength = maximumLength
        self.counts = counts
        self.entries = entries
    }

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
