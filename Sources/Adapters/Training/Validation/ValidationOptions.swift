/// When a run is measured on rows that it does not learn from, and what follows from that.
public struct ValidationOptions: Sendable, Equatable {
    /// Steps from one evaluation to the next; nil for one at the end alone.
    public var interval: Int?
    /// How many evaluations in a row may bring no improvement before the run ends; nil for any number.
    public var patience: Int?
    /// By how much the loss must fall below the lowest before it to be an improvement.
    public var minimumImprovement = 0.0
    /// Whether the adapter is that of the lowest validation loss, not of the last step.
    public var keepsBest = true

    /// What a head's outputs are measured by beside the loss; nil where tokens are predicted.
    public var measure: Measure?

    /// Measures of a head's outputs.
    public struct Measure: Sendable, Equatable {
        /// What is judged.
        public var task: SequenceTask
        /// The one that decides which adapter is the best; nil for the loss.
        public var metric: TaskMetric?
    }

    /// An evaluation at the end.
    public init() {}

    /// Whether the run is measured after the step with this number, from 1.
    func isDue(after step: Int, of total: Int) -> Bool {
        step == total || interval.map { step.isMultiple(of: $0) } ?? false
    }
}
