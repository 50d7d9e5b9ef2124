/// LoRA-RITE: Adam whose second moment is a matrix [r, r] a factor, kept in orthonormal bases, so that a
/// step does not depend on how the product is factored.
///
/// Source: Yen et al., "LoRA Done RITE: Robust Invariant Transformation Equilibration for LoRA
/// Optimization" (ICLR 2025, arXiv 2410.20625), algorithm 1; the authors' public optimizer for its
/// constants (unmagnified gradients are clipped to a norm of 1 over all layers).
public struct LoRARITE: Method {
    /// The method; it has no settings of its own.
    public init() {}

    /// Its own optimizer.
    public func makeOptimizer(
        for adapter: TrainableAdapter, options: AdamW.Options
    )
        -> any Optimizer
    { LoRARITEOptimizer(adapter, options: options) }

    /// m, U, V and ρ of every factor.
    public func optimizerMemory(for shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        LoRARITEOptimizer.memory(shapes, rank: rank)
    }
}
