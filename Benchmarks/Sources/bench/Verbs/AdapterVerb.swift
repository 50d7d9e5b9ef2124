import LorikeetQuant
import LorikeetRuntime

/// Decoding with adapters on all linear layers: one stream beside the base alone, and eight streams over
/// eight adapters of mixed ranks beside eight over one of the mean rank.
///
/// What is compared runs in turn: other programs slow both down.
func measureAdapters(_ checkpoint: any Checkpoint) throws -> [Row] {
    let compute = Compute()
    let model = try DecoderModel(checkpoint: checkpoint, on: compute)
    func adapter(rank: Int) -> PackedDeltas {
        PackedDeltas(RandomDeltas(rank: rank, model), for: model.configuration, on: compute)
    }
    let one = try Streams(model, [adapter(rank: 16)], on: compute)
    let base = try Streams(model, [nil], on: compute)
    let mixed = try Streams(model, mixedRanks.map { adapter(rank: $0) }, on: compute)
    let mean = adapter(rank: mixedRanks.reduce(0, +) / mixedRanks.count)
    let same = try Streams(model, mixedRanks.map { _ in mean }, on: compute)
    let none = try Streams(model, mixedRanks.map { _ in nil }, on: compute)
    func row(_ name: String, _ streams: Streams, beside other: Streams) throws -> Row {
        let (rate, ceiling) = try streams.tokensPerSecond(inTurnWith: other)
        return Row(name, on: compute, rate, "tokens/s", ceiling: ceiling)
    }
    return [
        try row("decode with rank 16, beside without", one, beside: base),
        try row("decode 8 × rank 26, beside without", same, beside: none),
        try row("decode 8 adapters, beside one", mixed, beside: same),
    ]
}

/// Sequences that are decoded together.
private final class Streams {
    private static let depth = 64
    private static let steps = 16
    private let pass: InferencePass
    private let inputs: [InferencePass.Input]

    /// A stream an adapter, behind a short prompt.
    init(_ model: DecoderModel, _ adapters: [PackedDeltas?], on compute: Compute) throws {
        let pass = InferencePass(model: model, compute: compute)
        self.pass = pass
        let prompt = (0..<Int32(Self.depth)).map { $0 &* 79 &+ 11 }
        inputs = adapters.enumerated().map { index, adapter in
            InferencePass.Input(
                [Int32(index)], after: pass.makeCache(capacity: 2 * Self.depth), adapter: adapter)
        }
        _ = try pass.forward(
            inputs.map { .init(prompt, after: $0.cache, adapter: $0.adapter) })
    }

    /// Tokens of all streams a second, and the other's: each the best of several runs in turn.
    func tokensPerSecond(inTurnWith other: Streams) throws -> (own: Double, other: Double) {
        var best = Double.infinity
        let clock = ContinuousClock()
        let own = try seconds(
            runs: 9,
            beside: {
                if let time = try? clock.measure(other.run) { best = min(best, time / .seconds(1)) }
            }, run)
        let count = Double(Self.steps)
        return (count * Double(inputs.count) / own, count * Double(other.inputs.count) / best)
    }

    private func run() throws {
        for input in inputs { input.cache.truncate(to: Self.depth) }
        for _ in 0..<Self.steps { _ = try pass.forward(inputs) }
    }
}

/// Terms of all linear layers, without a meaning.
private final class RandomDeltas: LowRankDeltas {
    private let deltas: [ModulePath: LowRankDelta]

    init(rank: Int, _ model: DecoderModel) {
        func factor(_ count: Int) -> Buffer<Float> {
            Buffer((0..<count).map { Float($0 % 13 - 6) / 512 })
        }
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<model.configuration.layerCount {
            for entry in model.configuration.modules.entries {
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: factor(rank * entry.inputs), b: factor(entry.outputs * rank), rank: rank,
                    scale: 2)
            }
        }
        self.deltas = deltas
    }

    func delta(at path: ModulePath) -> LowRankDelta? { deltas[path] }
}
