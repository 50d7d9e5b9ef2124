/// LoRA: y = W₀ x + (α / r) B A x, both factors trained alike.
///
/// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), section 4.1.
public struct LoRA: Method {
    /// The method; it has no settings.
    public init() {}
}
