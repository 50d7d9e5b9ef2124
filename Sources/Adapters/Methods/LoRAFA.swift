public import LorikeetQuant
import LorikeetRuntime

/// LoRA-FA: A stays what it was at the start.
///
/// B's gradient is that whose product with A comes closest to the full gradient:
///
///     dB ← s⁻² dB (A Aᵀ + δ I)⁻¹
///
/// then AdamW. A has neither gradient nor moments.
/// Source: Zhang et al., "LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models
/// Fine-tuning" (2023, arXiv 2308.03303); PEFT's `LoraFAOptimizer`, whose δ is 1e-8.
public struct LoRAFA: Method {
    /// δ.
    public let damping: Double

    /// A method with the given damping δ.
    public init(damping: Double = 1e-8) { self.damping = damping }

    /// A needs no gradient.
    public var learnsA: Bool { false }

    /// Preconditions every layer's dB; a layer without an inverse keeps its plain one.
    public func beforeStep(
        _ step: Int, adapter: TrainableAdapter, compute: Compute
    )
        -> RefactoringReport?
    {
        adapter.refactorModules(compute, each: precondition)
    }

    private func precondition(
        _ module: TrainableAdapter.Module, _ algebra: FactorAlgebra
    )
        -> RefactoringOutcome
    {
        let inverseSquare = 1 / Double(module.delta.scale * module.delta.scale)
        let dB = module.factorGradients.b
        guard let inverse = DampedInverse(algebra.gram(module.factors.a), damping: damping),
            inverse.keepsFinite(norm: algebra.norm(dB), times: inverseSquare)
        else { return .failed }
        algebra.multiply(dB, by: inverse.matrix.scaled(by: inverseSquare))
        return .refactored(conditionNumber: inverse.conditionNumber, isClamped: false)
    }
}
