/// What training does to a pass so that the model learns less by heart; evaluation does none of it.
public struct Regularization: Sendable, Equatable {
    /// ε: the share of a target's probability that is spread evenly over the vocabulary.
    public var labelSmoothing = 0.0
    /// NEFTune's α: noise of up to ±α / √(tokens · width) is added to a row's embeddings.
    public var embeddingNoise = 0.0
    /// The share of its inputs that an adapter's term does not see: PEFT's lora_dropout.
    public var dropout = 0.0
    /// What the noise follows from, with a row's position in the run.
    public var seed: UInt64 = 0

    /// None.
    public init() {}
}
