public import LorikeetQuant

/// DoRA: a row's length is trained apart from its direction.
///
///     y = m / ‖W + s B A‖ ⊙ (W x + s B A x)
///
/// with the norm of each row, which is a constant for the gradient. m starts as the norms are, so that
/// the model begins as the base; it learns at A's rate.
/// Source: Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024, arXiv 2402.09353), equations
/// 5 and 11.
public struct DoRA: Method {
    /// The method; it has no settings.
    public init() {}

    /// m is trained.
    public var trainsMagnitudes: Bool { true }

    /// Brings every layer's norms, and with them what its outputs are multiplied by, up to date.
    public func prepare(_ adapter: TrainableAdapter) { adapter.refreshOutputScales() }

    /// Turns the gradients of m / ‖W + s B A‖ into those of m.
    public func finishGradients(of adapter: TrainableAdapter) {
        for magnitude in adapter.modules.compactMap(\.magnitude) {
            for (i, norm) in magnitude.norms.elements.enumerated() {
                magnitude.gradient[i] = norm > 0 ? magnitude.gradient[i] / norm : 0
            }
        }
    }
}

/// What DoRA trains of a layer beside its factors.
public struct Magnitude: Sendable {
    /// m, `lora_magnitude_vector` [out].
    public let values: Buffer<Float>
    /// dm [out]; while a step's passes add to it, the gradient of m / ‖W + s B A‖.
    public let gradient: Buffer<Float>
    /// ‖W + s B A‖ of each row, as of the last refresh [out].
    let norms: Buffer<Float>

    init(_ count: Int) {
        values = Buffer(count)
        gradient = Buffer(count)
        norms = Buffer(count)
    }

    /// Writes m / ‖W + s B A‖ [out]; a row that is zero, which has no direction, stays zero.
    static func scale(_ values: Buffer<Float>, over norms: Buffer<Float>, into scale: Buffer<Float>)
    {
        for i in 0..<scale.count { scale[i] = norms[i] > 0 ? values[i] / norms[i] : 0 }
    }
}
