public import LorikeetQuant
import LorikeetRuntime
import QuantKernels

/// RefLoRA-S: S restricted to a multiple of the identity, s = ‖B‖ / ‖A‖. After the optimizer's step
///
///     A ← √s A,    B ← B / √s
///
/// so that both factors have the same norm, and the moments follow as gradients would:
/// for A, m ← m / √s and v ← v / s; for B, m ← √s m and v ← s v. The factors themselves are rescaled,
/// because Adam undoes a scalar preconditioner.
/// Source: Zhang, Li, Giannakis, "RefLoRA" (NeurIPS 2025, arXiv 2505.18877), section 3.3.
public struct RefLoRAS: Method {
    /// When factors are rescaled.
    public let schedule: RefactoringSchedule

    /// A method that follows `schedule`.
    public init(schedule: RefactoringSchedule) { self.schedule = schedule }

    /// Rescales every layer, so that the next step begins with balanced factors.
    public func afterStep(
        _ step: Int, adapter: TrainableAdapter, optimizer: any Optimizer, compute: Compute
    )
        -> RefactoringReport?
    {
        guard schedule.includes(step + 1) else { return nil }
        let kernels = compute.kernels
        func norm(_ factor: Buffer<Float>) -> Double {
            kernels.sum_of_squares(factor.pointer, factor.count).squareRoot()
        }
        return adapter.refactorModules(compute) { _, modules in
            modules.map { module in
                let (a, b) = (module.delta.a, module.delta.b)
                let (aNorm, bNorm) = (norm(a), norm(b))
                guard aNorm > 0, bNorm > 0 else { return .skipped }
                // Any s keeps the product; the bound keeps the moments within fp32 where B has hardly
                // left zero, and the next steps make up for it.
                let s = min(max(bNorm / aNorm, 1e-12), 1e12)
                guard s.isFinite else { return .failed }
                let root = s.squareRoot()
                kernels.scale(Float(root), a.count, a.pointer)
                kernels.scale(Float(1 / root), b.count, b.pointer)
                optimizer.rescaleGradients(ofModule: module.index, a: 1 / root, b: root)
                return .refactored(conditionNumber: nil, isClamped: false)
            }
        }
    }
}
