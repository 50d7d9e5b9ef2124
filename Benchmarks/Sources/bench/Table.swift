import Foundation

/// The table on standard output: lines as they come, for a run takes minutes, or one JSON array.
struct Table {
    private let isJSON: Bool
    private var rows: [Row] = []

    init(isJSON: Bool) {
        self.isJSON = isJSON
        if !isJSON { Self.write(Row.heading) }
    }

    mutating func add(_ new: Row...) { add(new) }

    mutating func add(_ new: [Row]) {
        rows += new
        guard !isJSON else { return }
        for row in new { Self.write(row.line) }
    }

    /// Ends the output.
    func finish() throws {
        guard isJSON else { return }
        let data = try JSONSerialization.data(
            withJSONObject: rows.map(\.json), options: [.sortedKeys])
        Self.write(String(decoding: data, as: UTF8.self))
    }

    private static func write(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
}
