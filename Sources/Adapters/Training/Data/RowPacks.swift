/// Rows laid together: as many whole ones as fit into a pass of so many tokens.
///
/// First fit: a row goes into the first pack that has room for it. Once the rows are packed, packs take
/// the place of rows: they are shuffled anew in each epoch, and a step takes them by their position.
public struct RowPacks: Sendable {
    /// Packs that are filled at a time.
    ///
    /// Beyond these the first is closed: looking through all that have a little room left would take a time
    /// that grows with the square of the rows.
    private static let openCount = 32

    // Pack p holds rows[starts[p]..<starts[p + 1]].
    private var rows: [Int] = []
    private var starts = [0]
    /// Tokens of the fullest.
    public private(set) var maximumTokens = 0
    /// Tokens of all.
    public private(set) var tokens = 0
    /// Tokens that a pack has room for.
    public let capacity: Int

    /// Packs `rows`, taken in `order`, into passes of `capacity` tokens; a longer row has one to itself.
    public init(_ rows: any TrainingRows, in order: some Sequence<Int>, capacity: Int) {
        self.capacity = capacity
        var open: [(rows: [Int], tokens: Int)] = []
        for row in order {
            let count = rows.tokenCount(at: row)
            if let first = open.firstIndex(where: { $0.tokens + count <= capacity }) {
                open[first].rows.append(row)
                open[first].tokens += count
            } else {
                if open.count == Self.openCount { close(open.removeFirst()) }
                open.append(([row], count))
            }
        }
        for pack in open { close(pack) }
    }

    private mutating func close(_ pack: (rows: [Int], tokens: Int)) {
        rows += pack.rows
        starts.append(rows.count)
        tokens += pack.tokens
        maximumTokens = max(maximumTokens, pack.tokens)
    }

    /// How many packs there are.
    public var count: Int { starts.count - 1 }

    /// The rows of a pack.
    public subscript(index: Int) -> ArraySlice<Int> { rows[starts[index]..<starts[index + 1]] }
}
