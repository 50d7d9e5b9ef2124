public import LorikeetQuant

/// PrecLoRA: each gradient by the other factor's inverse Gram matrix, damped.
///
///     dA ← (Bᵀ B + δ I)⁻¹ dA,    dB ← dB (A Aᵀ + δ I)⁻¹
///
/// then AdamW: the gradient in the metric of the quotient space of rank-r matrices, ScaledGD with Adam
/// on top. At B = 0 dA is zero and stays so.
/// Source: Zhang and Pilanci, "Riemannian Preconditioned LoRA for Fine-Tuning Foundation Models" (2024,
/// arXiv 2402.02347), algorithm 2; PEFT's `create_riemannian_optimizer`, whose δ is 1e-2.
public struct PrecLoRA: Method {
    /// δ.
    public let damping: Double

    /// A method with the given damping δ.
    public init(damping: Double = 1e-2) { self.damping = damping }

    /// Preconditions every layer's gradients; a layer without an inverse keeps its plain ones.
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
        let (factors, gradients) = (module.factors, module.factorGradients)
        guard let left = DampedInverse(algebra.gram(factors.b), damping: damping),
            let right = DampedInverse(algebra.gram(factors.a), damping: damping),
            // Both or neither: one factor's step with the other's metric would be no method's.
            left.keepsFinite(norm: algebra.norm(gradients.a)),
            right.keepsFinite(norm: algebra.norm(gradients.b))
        else { return .failed }
        algebra.multiply(gradients.a, by: left.matrix)
        algebra.multiply(gradients.b, by: right.matrix)
        return .refactored(
            conditionNumber: max(left.conditionNumber, right.conditionNumber), isClamped: false)
    }
}
