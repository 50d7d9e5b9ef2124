public import LorikeetQuant

/// The gradients of one layer's factors, in the factors' shapes.
///
/// A backward pass adds to what is there; whoever steps zeroes them.
public struct LowRankGradient: Sendable {
    /// d loss / d `lora_A` [rank, in]; empty where A does not learn.
    public let a: Buffer<Float>
    /// d loss / d `lora_B` [out, rank].
    public let b: Buffer<Float>
    /// d loss / d `outputScale` [out]; nil where there is none, or it does not learn.
    public let outputScale: Buffer<Float>?

    /// Wraps the buffers.
    public init(a: Buffer<Float>, b: Buffer<Float>, outputScale: Buffer<Float>? = nil) {
        self.a = a
        self.b = b
        self.outputScale = outputScale
    }
}

/// An adapter that a backward pass can train.
public protocol TrainableLowRankDeltas: LowRankDeltas {
    /// Where the gradients of the layer at `path` are added, or nil where the adapter leaves it alone.
    func gradient(at path: ModulePath) -> LowRankGradient?
    /// Where the gradient of the tensor `name`, which is the adapter's own, is added; nil where it has none.
    func gradient(ofTensor name: String) -> Buffer<Float>?
}

extension TrainableLowRankDeltas {
    /// None: most adapters have low-rank terms alone.
    public func gradient(ofTensor name: String) -> Buffer<Float>? { nil }
}
