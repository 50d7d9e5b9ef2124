public import LorikeetRuntime
public import Testing

/// Checks of a hand-written backward pass against finite differences in fp64.
public enum GradientCheck {
    /// ∂f/∂xᵢ ≈ (f(x + h eᵢ) − f(x − h eᵢ)) / 2h.
    ///
    /// At h = 1e-5 and values near 1, truncation (h² ≈ 1e-10) and rounding (2⁻⁵³ / h ≈ 1e-11) are both
    /// far below what fp32 resolves, so the differences stand for the exact gradient.
    public static func centralDifferences(
        at x: [Double], step: Double = 1e-5, of f: ([Double]) -> Double
    ) -> [Double] {
        var x = x
        return x.indices.map { i in
            let middle = x[i]
            x[i] = middle + step
            let above = f(x)
            x[i] = middle - step
            let below = f(x)
            x[i] = middle
            return (above - below) / (2 * step)
        }
    }

    /// Σᵢ wᵢ yᵢ: a scalar whose gradient in y is w.
    public static func weighted(_ y: [Double], by w: [Float]) -> Double {
        zip(y, w).reduce(0) { $0 + $1.0 * Double($1.1) }
    }

    /// Expects every |actual − expected| ≤ tolerance · max(1, largest |expected|).
    public static func expectClose(
        _ actual: some Collection<Float>, _ expected: [Double], within tolerance: Double,
        _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(actual.count == expected.count, sourceLocation: sourceLocation)
        let largest = expected.reduce(1) { max($0, abs($1)) }
        var worst = (difference: 0.0, index: -1)
        for (i, (a, b)) in zip(actual, expected).enumerated() {
            let difference = abs(Double(a) - b)
            // A NaN must not pass for small.
            if !(difference <= worst.difference) { worst = (difference, i) }
        }
        #expect(
            worst.difference <= tolerance * largest,
            "\(what): element \(worst.index) is off by \(worst.difference), largest \(largest)",
            sourceLocation: sourceLocation)
    }
}

extension SeededGenerator {
    /// `count` numbers from −1 to 1.
    public mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
        (0..<count).map { _ in Float(uniform() * 2 - 1) * scale }
    }
}
