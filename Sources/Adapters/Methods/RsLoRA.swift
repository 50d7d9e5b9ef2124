/// rsLoRA: the scale is α / √r, at which activations and gradients keep their size at any rank.
///
/// Source: Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA" (2023),
/// theorem 3.2.
public struct RsLoRA: Method {
    /// The method; it has no settings.
    public init() {}

    /// The scale α / √r.
    public func scale(rank: Int, alpha: Double) -> Float {
        Float(alpha / Double(rank).squareRoot())
    }
}
