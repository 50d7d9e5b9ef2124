public import LorikeetQuant
import LorikeetRuntime

/// LoRA-Pro: the factors' gradients for which the product moves as nearly as it can along the full
/// gradient.
///
/// With K = A Aᵀ, Y = Bᵀ B and the full gradient G, of which dA = s Bᵀ G and dB = s G Aᵀ are known,
/// s (B gA + gB A) comes closest to G for
///
///     gA = s⁻² Y⁻¹ dA + X A,    gB = s⁻² (I − B Y⁻¹ Bᵀ) dB K⁻¹ − B X
///
/// with any X; the one for which gA and gB stay nearest to dA and dB solves the Sylvester equation
///
///     Y X + X K = −s⁻² Y⁻¹ dA Aᵀ.
///
/// Then AdamW on gA and gB: the moments are the factors', never the layer's. (The authors' second form
/// keeps moments of s (B gA + gB A), as large as the weights, and is not this one.)
/// Source: Wang et al., "LoRA-Pro: Are Low-Rank Adapters Properly Optimized?" (ICLR 2025, arXiv
/// 2407.18242), theorems 2.1 and 2.3. δ = 1e-8 as in the authors' code is added to both Gram matrices: at
/// B = 0 gA = dA / (s² δ) = 0 and X = 0.
public struct LoRAPro: Method {
    /// δ.
    public let damping: Double

    /// A method with the given damping δ.
    public init(damping: Double = 1e-8) { self.damping = damping }

    /// Adjusts every layer's gradients; where that is not possible they stay the plain ones.
    public func beforeStep(
        _ step: Int, adapter: TrainableAdapter, compute: Compute
    )
        -> RefactoringReport?
    {
        adapter.refactorModules(compute, each: adjust)
    }

    private func adjust(
        _ module: TrainableAdapter.Module, _ algebra: FactorAlgebra
    )
        -> RefactoringOutcome
    {
        let (factors, gradients) = (module.factors, module.factorGradients)
        guard let y = algebra.gram(factors.b).eigendecomposition(),
            let k = algebra.gram(factors.a).eigendecomposition()
        else { return .failed }
        // Gram matrices: what is negative is rounding.
        let lambda = y.values.map { max($0, 0) + damping }
        let mu = k.values.map { max($0, 0) + damping }
        let inverseSquare = 1 / Double(module.delta.scale * module.delta.scale)

        // dA Aᵀ = Bᵀ dB in the bases of both Gram matrices. There X and Z = s⁻² Y⁻¹ dA Aᵀ K⁻¹ + X, what B
        // is multiplied by in gB, are quotients, and Z's has no difference of large numbers left.
        var x = SquareMatrix.transposedProduct(
            y.vectors, algebra.product(gradients.a, factors.a) * k.vectors)
        var z = x
        for i in 0..<x.size {
            for j in 0..<x.size {
                x[i, j] *= -inverseSquare / (lambda[i] * (lambda[i] + mu[j]))
                z[i, j] *= inverseSquare / (mu[j] * (lambda[i] + mu[j]))
            }
        }
        x = SquareMatrix.productTransposed(y.vectors * x, k.vectors)
        z = SquareMatrix.productTransposed(k.vectors, y.vectors * z)  // Zᵀ
        let left = y.applying { inverseSquare / (max($0, 0) + damping) }
        let right = k.applying { inverseSquare / (max($0, 0) + damping) }

        // No element of a product is larger than the norms' product.
        let largest = 0.5 * Double(Float.greatestFiniteMagnitude)
        guard left.frobeniusNorm * algebra.norm(gradients.a) < largest,
            right.frobeniusNorm * algebra.norm(gradients.b) < largest,
            x.frobeniusNorm * algebra.norm(factors.a) < largest,
            z.frobeniusNorm * algebra.norm(factors.b) < largest
        else { return .failed }
        algebra.multiply(gradients.a, by: left)
        algebra.multiply(factors.a, by: x, into: gradients.a, accumulate: true)
        algebra.multiply(gradients.b, by: right)
        // (B Z)ᵀ = Zᵀ Bᵀ
        algebra.multiply(factors.b, by: z, scale: -1, into: gradients.b, accumulate: true)
        let condition = max(
            lambda[lambda.count - 1] / lambda[0], mu[mu.count - 1] / mu[0])
        return .refactored(conditionNumber: condition, isClamped: false)
    }
}
