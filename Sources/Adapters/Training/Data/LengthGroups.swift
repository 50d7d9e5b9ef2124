import LorikeetRuntime

/// Batches of rows of similar length.
///
/// As transformers' `group_by_length` makes them: the shuffled rows are divided into parts of fifty
/// batches, and each part is sorted by length. There the batches of a part then come from the longest
/// to the shortest; here they come in random order, so that the length does not rise and fall as
/// training goes on.
struct LengthGroups: Sendable {
    /// transformers' `mega_batch_mult`.
    private static let batchesPerPart = 50

    let rows: any TrainingRows
    /// Rows in a batch.
    let batchSize: Int

    /// Arranges an epoch's rows.
    ///
    /// - Parameters:
    ///   - order: the rows of the epoch, in its order.
    ///   - position: the position of the first of them in the run; batches begin at multiples of their
    ///     size, so that an epoch's first rows may belong to the last epoch's last batch.
    ///   - generator: what the order of batches is drawn from; nil to have the longest first.
    func arrange(
        _ order: inout [Int], from position: Int, _ generator: inout SeededGenerator?
    ) {
        let lead = (batchSize - position % batchSize) % batchSize
        for start in stride(from: lead, to: order.count, by: batchSize * Self.batchesPerPart) {
            let part = start..<min(start + batchSize * Self.batchesPerPart, order.count)
            let sorted = order[part].map { (length: rows.tokenCount(at: $0), row: $0) }
                .sorted { ($1.length, $0.row) < ($0.length, $1.row) }.map(\.row)
            // What is left over at the end of an epoch fills no batch and stays there.
            var batches = Array(0..<part.count / batchSize)
            generator?.shuffle(&batches)
            let whole = batches.flatMap { sorted[$0 * batchSize..<($0 + 1) * batchSize] }
            order.replaceSubrange(part, with: whole + sorted[whole.count...])
        }
    }
}
