public import LorikeetQuant
import LorikeetRuntime
import QuantKernels

/// RefLoRA in its preconditioned form.
///
/// Before the optimizer's step
///
///     dA ← S⁻¹ dA,    dB ← dB S
///
/// which steps as if the factors had been refactored first. Works with any optimizer.
/// Source: Zhang, Li, Giannakis, "RefLoRA" (NeurIPS 2025, arXiv 2505.18877), section 3.
public struct RefLoRA: Method {
    /// When gradients are preconditioned.
    public let schedule: RefactoringSchedule

    /// A method that follows `schedule`.
    public init(schedule: RefactoringSchedule) { self.schedule = schedule }

    /// A batch of layers a thread.
    public func scratchMemory(rank: Int, threads: Int) -> Int {
        threads * RefactoringBatch.memory(rank: rank)
    }

    /// Preconditions every layer's gradients; a layer without S keeps its plain ones.
    public func beforeStep(
        _ step: Int, adapter: TrainableAdapter, compute: Compute
    )
        -> RefactoringReport?
    {
        guard schedule.includes(step) else { return nil }
        let batches = (0..<compute.pool.count).map { _ in
            RefactoringBatch(rank: adapter.rank, kernels: compute.kernels)
        }
        return adapter.refactorModules(compute, atOnce: RefactoringBatch.capacity) {
            thread, modules in
            batches[thread].matrices(of: modules).map { module, s in
                switch s {
                case .success(let s): batches[thread].precondition(module, by: s)
                case .failure(.zeroFactor): .skipped
                case .failure(.notComputable): .failed
                }
            }
        }
    }
}

extension RefactoringBatch {
    fileprivate func matrices(
        of modules: ArraySlice<TrainableAdapter.Module>
    ) -> [(TrainableAdapter.Module, Result<RefactoringMatrix, RefactoringMatrix.Failure>)] {
        for (index, module) in modules.enumerated() {
            let factors = module.factors
            var (a, b) = (factors.a.kernelFactor, factors.b.kernelFactor)
            kernels.factor_gram(&a, x(index), scratch.pointer)
            kernels.factor_gram(&b, y(index), scratch.pointer)
        }
        return Array(zip(modules, matrices(count: modules.count)))
    }

    /// dA ← S⁻¹ dA, dB ← dB S.
    fileprivate func precondition(
        _ module: TrainableAdapter.Module, by s: RefactoringMatrix
    )
        -> RefactoringOutcome
    {
        func norm(_ gradient: LowRankFactor) -> Double {
            kernels.sum_of_squares(gradient.pointer, gradient.count).squareRoot()
        }
        let gradients = module.factorGradients
        // Both or neither: one factor's step with the other's metric would be no method's. No element
        // of a product is larger than the norms' product.
        let largest = Double(Float.greatestFiniteMagnitude)
        guard s.inverseNorm * norm(gradients.a) < largest,
            s.norm * norm(gradients.b) < largest
        else { return .failed }
        var (dA, dB) = (gradients.a.kernelFactor, gradients.b.kernelFactor)
        kernels.factor_multiply(s.inverse, &dA, scratch.pointer)
        // (dB S)ᵀ = S dBᵀ
        kernels.factor_multiply(s.elements, &dB, scratch.pointer)
        return .refactored(conditionNumber: s.conditionNumber, isClamped: s.isClamped)
    }
}
