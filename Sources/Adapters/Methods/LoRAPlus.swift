/// LoRA+: B learns λ times as fast as A, so that both contribute in a wide network.
///
/// Source: Hayou, Ghosh, Yu, "LoRA+: Efficient Low Rank Adaptation of Large Models" (2024), section 4;
/// λ = 16 is their recommendation.
public struct LoRAPlus: Method {
    /// The ratio λ.
    public let learningRateRatio: Double

    /// A method with the given ratio λ.
    public init(learningRateRatio: Double = 16) { self.learningRateRatio = learningRateRatio }
}
