import COpenBLAS
public import LorikeetQuant
import LorikeetRuntime

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

    /// Preconditions every layer's gradients; a layer without S keeps its plain ones.
    public func beforeStep(
        _ step: Int, adapter: TrainableAdapter, compute: Compute
    )
        -> RefactoringReport?
    {
        guard schedule.includes(step) else { return nil }
        return adapter.refactorEachModule(compute) { Self.precondition($0) }
    }

    private static func precondition(_ module: TrainableAdapter.Module) -> RefactoringOutcome {
        let rank = module.delta.rank
        let s: RefactoringMatrix
        do throws(RefactoringMatrix.Failure) {
            s = try RefactoringMatrix(
                a: module.delta.a.elements.map(Double.init),
                b: module.delta.b.elements.map(Double.init), rank: rank)
        } catch {
            switch error {
            case .zeroFactor: return .skipped
            case .notComputable: return .failed
            }
        }
        let (dA, dB) = (module.gradient.a, module.gradient.b)
        let preconditionedA = product(
            s.inverse, dA.elements.map(Double.init), rows: rank, inner: rank)
        let preconditionedB = product(
            dB.elements.map(Double.init), s.elements, rows: module.outputSize, inner: rank)
        // Both or neither: one factor's step with the other's metric would be no method's.
        guard preconditionedA.allSatisfy({ Float($0).isFinite }),
            preconditionedB.allSatisfy({ Float($0).isFinite })
        else { return .failed }
        for index in 0..<dA.count { dA[index] = Float(preconditionedA[index]) }
        for index in 0..<dB.count { dB[index] = Float(preconditionedB[index]) }
        return .refactored(conditionNumber: s.conditionNumber, isClamped: s.isClamped)
    }

    /// The product of left [rows, inner] and right [inner, …].
    private static func product(
        _ left: [Double], _ right: [Double], rows: Int, inner: Int
    ) -> [Double] {
        let columns = right.count / inner
        var result = [Double](repeating: 0, count: rows * columns)
        cblas_dgemm(
            CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), Int32(columns), Int32(inner), 1,
            left, Int32(inner), right, Int32(columns), 0, &result, Int32(columns))
        return result
    }
}
