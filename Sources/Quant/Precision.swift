/// The arithmetic of the products with frozen weights.
public enum Precision: String, Sendable, CaseIterable {
    /// Floats throughout: exact to fp32's rounding, and the reference for the others.
    case fp32
    /// 16-bit weights and activations, a scale to every 64 of them: each product is within 3e-4 of fp32's.
    case int16
    /// 8-bit weights and activations, likewise: within 1e-2, at twice the speed where arithmetic bounds.
    case int8
}
