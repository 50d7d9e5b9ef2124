/// How an adapter's factors begin, by the names that commands use.
public enum Initialization: String, CaseIterable, Sendable, Codable {
    /// A uniform in ±1/√in, B zero: PEFT's default.
    case kaiming = "default"
    /// A normal with standard deviation 1/r, B zero.
    case gaussian
    /// Neither is zero but the product is: A and B lie in orthogonal halves of the rank.
    case orthogonal
    /// The principal singular vectors of the base's weights, against the residual.
    case pissa
    /// The singular vectors of what quantization lost, computed beside the base by `quantize`.
    case loftq
    /// The principal directions of the layer's inputs on the training data, B zero.
    case eva

    /// Whether the start changes nothing because B is zero.
    var leavesBZero: Bool {
        switch self {
        case .kaiming, .gaussian, .eva: true
        case .orthogonal, .pissa, .loftq: false
        }
    }
}
