import LorikeetQuant
public import LorikeetRuntime

/// Several adapters at once: the sum of their terms, each as large as wanted.
///
/// Σ wᵢ sᵢ Bᵢ Aᵢ is one product of stacked factors, A = [A₁; A₂; …] and B = [w₁ s₁ B₁, w₂ s₂ B₂, …], whose
/// rank is the sum of the ranks.
public final class DeltaSum: LowRankDeltas {
    private let deltas: [ModulePath: LowRankDelta]

    /// The sum of `adapters`.
    ///
    /// - Throws: `.unsupported` for a DoRA adapter that is not the only one: it scales what the others would
    ///   add to.
    public convenience init(_ adapters: [Adapter]) throws {
        try self.init(adapters.map { ($0, 1) })
    }

    /// The sum of adapters, each times its weight.
    ///
    /// - parts: adapters and w.
    /// - Throws: `.unsupported` for a DoRA adapter, or one that brings tensors whole, that is not the only one or
    ///   whose weight is not 1.
    public init(_ parts: [(adapter: Adapter, weight: Float)]) throws {
        if let (adapter, _) = parts.first(where: { !$0.adapter.tensors.isEmpty }) {
            throw LorikeetError(
                .unsupported, adapter.name,
                "an adapter with whole tensors of its own (modules_to_save) cannot be scaled or added to "
                    + "another",
                advice: "Use it alone.")
        }
        if parts.count > 1 || parts.contains(where: { $0.weight != 1 }),
            let (adapter, _) = parts.first(where: \.adapter.configuration.usesDoRA)
        {
            throw LorikeetError(
                .unsupported, adapter.name, "a DoRA adapter cannot be scaled or added to another",
                advice: "Use it alone.")
        }
        let paths = Set(parts.flatMap(\.adapter.deltas.keys))
        deltas = Dictionary(
            uniqueKeysWithValues: paths.map { path in
                let terms = parts.compactMap { adapter, weight in
                    adapter.delta(at: path).map { (delta: $0, weight: weight) }
                }
                return (path, Self.sum(terms))
            })
    }

    /// Bytes of the terms.
    var memory: Int { deltas.values.reduce(0) { $0 + $1.memory } }

    /// The sum's term of the layer at `path`.
    public func delta(at path: ModulePath) -> LowRankDelta? { deltas[path] }

    private static func sum(_ terms: [(delta: LowRankDelta, weight: Float)]) -> LowRankDelta {
        if terms.count == 1 {
            let (delta, weight) = terms[0]
            return LowRankDelta(
                a: delta.a, b: delta.b, rank: delta.rank, scale: weight * delta.scale,
                outputScale: delta.outputScale)
        }
        let rank = terms.reduce(0) { $0 + $1.delta.rank }
        let rows = terms[0].delta.b.count / terms[0].delta.rank
        let b = Buffer<Float>(rows * rank)
        var column = 0
        for (delta, weight) in terms {
            let scale = weight * delta.scale
            for row in 0..<rows {
                for r in 0..<delta.rank {
                    b[row * rank + column + r] = scale * delta.b[row * delta.rank + r]
                }
            }
            column += delta.rank
        }
        return LowRankDelta(
            a: Buffer(terms.flatMap(\.delta.a.elements)), b: b, rank: rank, scale: 1)
    }
}
