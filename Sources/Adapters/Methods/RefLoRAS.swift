public import LorikeetQuant
import LorikeetRuntime

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
        _ step: Int, adapter: TrainableAdapter, optimizer: AdamW, compute: Compute
    )
        -> RefactoringReport?
    {
        guard schedule.includes(step + 1) else { return nil }
        return adapter.refactorEachModule(compute) { module in
            let (aNorm, bNorm) = (norm(module.delta.a), norm(module.delta.b))
            guard aNorm > 0, bNorm > 0 else { return .skipped }
            // Any s keeps the product; the bound keeps the moments within fp32 where B has hardly
            // left zero, and the next steps make up for it.
            let s = min(max(bNorm / aNorm, 1e-12), 1e12)
            guard s.isFinite else { return .failed }
            let moments = optimizer.moments[module.index]
            scale(module.delta.a, by: s.squareRoot())
            scale(module.delta.b, by: 1 / s.squareRoot())
            scale(moments.a.first, by: 1 / s.squareRoot())
            scale(moments.a.second, by: 1 / s)
            scale(moments.b.first, by: s.squareRoot())
            scale(moments.b.second, by: s)
            return .refactored(conditionNumber: nil, isClamped: false)
        }
    }

    private func norm(_ buffer: Buffer<Float>) -> Double {
        buffer.elements.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    }

    private func scale(_ buffer: Buffer<Float>, by factor: Double) {
        let factor = Float(factor)
        for index in 0..<buffer.count { buffer[index] *= factor }
    }
}
