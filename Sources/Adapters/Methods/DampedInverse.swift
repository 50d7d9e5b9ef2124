/// (G + δ I)⁻¹ of a Gram matrix G, in float64.
struct DampedInverse {
    /// The inverse.
    let matrix: SymmetricMatrix
    /// ‖G + δ I‖ ‖(G + δ I)⁻¹‖ in Frobenius norms.
    let conditionNumber: Double

    /// Inverts; nil where G + δ I is not positive definite, or not finite.
    init?(_ gram: SymmetricMatrix, damping: Double) {
        let damped = gram.damped(by: damping)
        guard let inverse = damped.inverse else { return nil }
        matrix = inverse
        conditionNumber = damped.frobeniusNorm * inverse.frobeniusNorm
        guard conditionNumber.isFinite else { return nil }
    }

    /// Whether c times the product with a gradient of this norm is within fp32.
    func keepsFinite(norm: Double, times c: Double = 1) -> Bool {
        // No element of a product is larger than the norms' product.
        c * matrix.frobeniusNorm * norm < Double(Float.greatestFiniteMagnitude)
    }
}
