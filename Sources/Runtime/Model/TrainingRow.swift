/// One sequence to train on.
public struct TrainingRow: Sendable {
    /// The tokens.
    public var inputIDs: [Int32]
    /// The targets, Hugging Face's convention: `labels[i]` is compared with the prediction made at
    /// position i - 1; -100 is no target.
    public var labels: [Int32]

    /// Creates a row; both have the same count.
    public init(inputIDs: [Int32], labels: [Int32]) {
        self.inputIDs = inputIDs
        self.labels = labels
    }
}
