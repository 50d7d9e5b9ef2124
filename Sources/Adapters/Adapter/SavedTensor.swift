public import LorikeetQuant

/// A tensor of the model that an adapter brings whole, fp32: PEFT's `modules_to_save`.
public struct SavedTensor: Sendable {
    /// Its shape, row-major.
    public let shape: [Int]
    /// Its elements.
    public let values: Buffer<Float>

    /// Wraps the elements.
    public init(shape: [Int], values: Buffer<Float>) {
        precondition(values.count == shape.reduce(1, *), "\(values.count) values of \(shape)")
        self.shape = shape
        self.values = values
    }
}
