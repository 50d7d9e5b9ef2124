import LorikeetQuant
public import LorikeetRuntime

/// Several adapters at once: the sum of their terms.
///
/// Σ sᵢ Bᵢ Aᵢ is one product of stacked factors, A = [A₁; A₂; …] and B = [s₁ B₁, s₂ B₂, …], whose rank is
/// the sum of the ranks.
public final class DeltaSum: LowRankDeltas {
    private let deltas: [ModulePath: LowRankDelta]

    /// The sum of `adapters`.
    ///
    /// - Throws: `.unsupported` for a DoRA adapter that is not the only one: it scales what the others would
    ///   add to.
    public init(_ adapters: [Adapter]) throws {
        if adapters.count > 1, let adapter = adapters.first(where: \.configuration.usesDoRA) {
            throw LorikeetError(
                .unsupported, adapter.name, "a DoRA adapter cannot be added to another",
                advice: "Use it alone.")
        }
        let paths = Set(adapters.flatMap(\.deltas.keys))
        deltas = Dictionary(
            uniqueKeysWithValues: paths.map { path in
                (path, Self.sum(adapters.compactMap { $0.delta(at: path) }))
            })
    }

    /// The sum's term of the layer at `path`.
    public func delta(at path: ModulePath) -> LowRankDelta? { deltas[path] }

    private static func sum(_ terms: [LowRankDelta]) -> LowRankDelta {
        guard terms.count > 1 else { return terms[0] }
        let rank = terms.reduce(0) { $0 + $1.rank }
        let rows = terms[0].b.count / terms[0].rank
        let b = Buffer<Float>(rows * rank)
        var column = 0
        for term in terms {
            for row in 0..<rows {
                for r in 0..<term.rank {
                    b[row * rank + column + r] = term.scale * term.b[row * term.rank + r]
                }
            }
            column += term.rank
        }
        return LowRankDelta(a: Buffer(terms.flatMap(\.a.elements)), b: b, rank: rank, scale: 1)
    }
}
