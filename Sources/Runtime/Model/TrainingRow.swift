/// One sequence to train on.
///
/// `labels` has the length of `inputIDs` and is not shifted: `labels[i]` is the token to be predicted
/// from position i - 1, or -100 where nothing is (Hugging Face's convention); `labels[0]` never counts.
public struct TrainingRow: Sendable, Equatable {
    /// The tokens.
    public var inputIDs: [Int32]
    /// The targets.
    public var labels: [Int32]
    /// Where the row stands in a run, from 0: what its noise follows from.
    public var position = 0

    /// The label of a position that is not trained on.
    public static let masked: Int32 = -100

    /// Creates a row.
    public init(inputIDs: [Int32], labels: [Int32]) {
        precondition(
            inputIDs.count == labels.count, "\(inputIDs.count) tokens, \(labels.count) labels")
        self.inputIDs = inputIDs
        self.labels = labels
    }

    /// How many positions are trained on.
    public var targetCount: Int { labels.dropFirst().count { $0 != Self.masked } }
}
