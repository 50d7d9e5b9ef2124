public import LorikeetRuntime

/// Rows to train on, of which a step reads those that it takes.
///
/// An array of rows is one; `TrainingData` has another that leaves its rows in their file. Counts are
/// known without a row being read: the loss is a mean over a whole step's targets, and packs are chosen
/// by length.
public protocol TrainingRows: Sendable {
    /// How many rows there are.
    var count: Int { get }
    /// The tokens of a row.
    func tokenCount(at index: Int) -> Int
    /// The tokens of a row that are predicted.
    func targetCount(at index: Int) -> Int
    /// A row.
    ///
    /// - Throws: `LorikeetError` where the file no longer holds it.
    func row(at index: Int) throws -> TrainingRow
    /// The rows that belong together: the row alone, or both answers of a preference.
    ///
    /// - Throws: as `row(at:)`.
    func example(at index: Int) throws -> [TrainingRow]
    /// What to call a row in a message: `rows.jsonl, line 7`.
    func name(of index: Int) -> String
}

extension TrainingRows {
    /// The row alone.
    public func example(at index: Int) throws -> [TrainingRow] { [try row(at: index)] }

    /// The most tokens of `size` rows that follow each other, from a multiple of `size` on.
    func largestBatch(of size: Int) -> Int {
        stride(from: 0, to: count, by: size).reduce(0) { largest, start in
            max(
                largest,
                (start..<Swift.min(start + size, count)).reduce(0) { $0 + tokenCount(at: $1) })
        }
    }

    /// The tokens of the longest row; 0 without rows.
    public var longestRow: Int { (0..<count).lazy.map { tokenCount(at: $0) }.max() ?? 0 }
}

extension [TrainingRow]: TrainingRows {
    /// The tokens of a row.
    public func tokenCount(at index: Int) -> Int { self[index].inputIDs.count }
    /// The tokens of a row that are predicted.
    public func targetCount(at index: Int) -> Int { self[index].targetCount }
    /// A row.
    public func row(at index: Int) -> TrainingRow { self[index] }
    /// `row 7`, from 1.
    public func name(of index: Int) -> String { "row \(index + 1)" }
}

/// Some of the rows of a set.
struct RowSelection: TrainingRows {
    let rows: any TrainingRows
    let indices: [Int]

    var count: Int { indices.count }
    func tokenCount(at index: Int) -> Int { rows.tokenCount(at: indices[index]) }
    func targetCount(at index: Int) -> Int { rows.targetCount(at: indices[index]) }
    func row(at index: Int) throws -> TrainingRow { try rows.row(at: indices[index]) }
    func example(at index: Int) throws -> [TrainingRow] { try rows.example(at: indices[index]) }
    func name(of index: Int) -> String { rows.name(of: indices[index]) }
}
