public import LorikeetQuant

/// The low-rank term of one linear layer: y = c ⊙ (W x + scale · B (A x)), PEFT's convention.
public struct LowRankDelta: Sendable {
    /// `lora_A` [rank, in].
    public let a: Buffer<Float>
    /// `lora_B` [out, rank].
    public let b: Buffer<Float>
    /// r.
    public let rank: Int
    /// alpha / r, or alpha / √r for rsLoRA.
    public let scale: Float
    /// c, what the layer's outputs are multiplied by [out]; nil for ones.
    public let outputScale: Buffer<Float>?

    /// Creates a term; the factors' counts say the layer's width.
    public init(
        a: Buffer<Float>, b: Buffer<Float>, rank: Int, scale: Float,
        outputScale: Buffer<Float>? = nil
    ) {
        precondition(rank > 0 && a.count % rank == 0 && b.count % rank == 0, "rank \(rank)")
        precondition(
            outputScale.map { $0.count == b.count / rank } ?? true,
            "\(outputScale?.count ?? 0) output scales of \(b.count / rank) outputs")
        self.a = a
        self.b = b
        self.rank = rank
        self.scale = scale
        self.outputScale = outputScale
    }
}

/// What a model needs to know of an adapter; methods, files and training are no concern of its.
public protocol LowRankDeltas: AnyObject, Sendable {
    /// The term of the layer at `path`, or nil where the adapter leaves it alone.
    func delta(at path: ModulePath) -> LowRankDelta?
    /// The adapter's own values of the model's tensor `name`, which take the base's place (PEFT's
    /// `modules_to_save`); nil where it leaves the base's.
    func tensor(_ name: String) -> Buffer<Float>?
}

extension LowRankDeltas {
    /// None: most adapters have low-rank terms alone.
    public func tensor(_ name: String) -> Buffer<Float>? { nil }
}

/// No adapter: the base alone.
public final class NoDeltas: LowRankDeltas {
    /// There is nothing to say.
    public init() {}

    /// Nil.
    public func delta(at path: ModulePath) -> LowRankDelta? { nil }
}
