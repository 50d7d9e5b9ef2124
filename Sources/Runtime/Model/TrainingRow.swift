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
    /// How many tokens belong to the first text of a pair, its special tokens among them; nil for one text.
    public var firstTextCount: Int?
    /// What the row as a whole is to be judged as; nil where its tokens are predicted.
    public var target: Target?

    /// What a row as a whole is to be judged as.
    public enum Target: Sendable, Equatable {
        /// One of the classes, from 0.
        case label(Int)
        /// A number.
        case value(Float)
    }

    /// The label of a position that is not trained on.
    public static let masked: Int32 = -100

    /// Creates a row.
    public init(inputIDs: [Int32], labels: [Int32]) {
        precondition(
            inputIDs.count == labels.count, "\(inputIDs.count) tokens, \(labels.count) labels")
        self.inputIDs = inputIDs
        self.labels = labels
    }

    /// Creates a row of one or two texts that is judged as a whole.
    public init(inputIDs: [Int32], firstTextCount: Int? = nil, target: Target?) {
        self.init(
            inputIDs: inputIDs,
            labels: Array(repeating: Self.masked, count: inputIDs.count))
        self.firstTextCount = firstTextCount
        self.target = target
    }

    /// How many targets there are: positions that are trained on, or the row as a whole.
    public var targetCount: Int {
        target == nil ? labels.dropFirst().count { $0 != Self.masked } : 1
    }

    /// Which text of a pair a token belongs to: 0 or 1.
    func tokenType(at index: Int) -> Int { index < firstTextCount ?? .max ? 0 : 1 }
}
