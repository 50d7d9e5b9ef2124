/// What training does to a pass so that the model learns less by heart; evaluation does none of it.
public struct Regularization: Sendable, Equatable {
    /// ε: the share of a target's probability that is spread evenly over the vocabulary.
    public var labelSmoothing = 0.0

    /// None.
    public init() {}
}
