/// Where a run stands between two steps: all that its next step follows from.
///
/// The learning rate, the rows and whether RefLoRA refactors follow from the step's number and the
/// options, and the order of rows from the seed: none of them has a state of its own.
public struct TrainingState {
    /// The factors.
    public let adapter: TrainableAdapter
    /// The moments, and how many steps they have seen.
    public let optimizer: any Optimizer
    /// Steps, losses, tokens and seconds so far.
    public internal(set) var summary = Trainer.Summary()
    /// The factors that are the best so far, for a run that keeps them.
    var best: BestFactors?

    /// The beginning of a run that trains `adapter` with `optimizer`.
    public init(_ adapter: TrainableAdapter, optimizer: any Optimizer) {
        self.adapter = adapter
        self.optimizer = optimizer
    }
}
