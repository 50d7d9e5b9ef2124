import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Sequences of different adapters in one batch.
@Suite(.serialized) struct ManyAdaptersTests {
    private static let tiny = tinyDecoders

    /// Runs `body` on the tiny model of this name in NF4.
    private func withQuantized<Result>(
        _ name: String, _ body: (String) throws -> Result
    ) throws -> Result {
        try Fixtures.withTemporaryFolder { folder in
            try quantize(
                source: Checkpoints.open(modelResource("tiny/\(name)").path), to: folder + "/nf4",
                options: QuantizeOptions(), replace: false, compute: Compute())
            return try body(folder + "/nf4")
        }
    }

    /// Terms of all linear layers but some, and every other block's with output scales if `scales`.
    private func adapter(
        rank: Int, seed: UInt64, scales: Bool = false, of model: DecoderModel
    ) -> TestAdapter {
        var random = SeededGenerator(seed: seed)
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<model.configuration.layerCount {
            for entry in model.configuration.modules.entries
            where !(layer == 1 && entry.module == .key) {
                deltas[ModulePath(layer: layer, module: entry.module)] = LowRankDelta(
                    a: Buffer(random.floats(rank * entry.inputs, scale: 0.1)),
                    b: Buffer(random.floats(entry.outputs * rank, scale: 0.05)), rank: rank,
                    scale: 2,
                    outputScale: scales && layer % 2 == 1
                        ? Buffer(random.floats(entry.outputs).map { 1 + 0.1 * $0 }) : nil)
            }
        }
        return TestAdapter(deltas)
    }

    private func tokens(_ count: Int, salt: Int, of model: DecoderModel) -> [Int32] {
        (0..<count).map {
            Int32(($0 * 7919 + 31 * salt + 11) % model.configuration.vocabularySize)
        }
    }

    @Test(arguments: tiny, [Precision.fp32, .int16])
    func `a packed adapter gives the loss that training sees`(
        name: String, precision: Precision
    ) throws {
        try withQuantized(name) { path in
            let compute = Compute(threads: 2, precision: precision)
            let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
            let adapter = adapter(rank: 5, seed: 1, scales: true, of: model)
            let row = tokens(40, salt: 0, of: model)
            let training = TrainingPass(
                model: model, compute: compute, maximumTokens: row.count, recomputesBlocks: false)
            let loss = try training.evaluate(
                [TrainingRow(inputIDs: row, labels: row)], adapter: adapter
            ).loss
            let pass = InferencePass(model: model, compute: compute)
            let scores = try pass.logProbabilities(
                of: row, cache: pass.makeCache(), adapter: pass.pack(adapter))
            // 39 losses near 6: in fp32 the same sums in another order; else factors, keys and values
            // are halves, and training's are floats.
            let tolerance: Float = precision == .fp32 ? 1e-3 : 0.1
            #expect(abs(Float(loss) + scores.reduce(0, +)) <= tolerance)
            let base = try pass.logProbabilities(of: row, cache: pass.makeCache(), adapter: nil)
            let largest = zip(base, scores).map { abs($0 - $1) }.max() ?? 0
            #expect(largest > 0.05, "the adapter does nothing")
        }
    }

    // A sequence of a batch.
    private struct Sequence {
        let adapter: PackedDeltas?
        let tokens: [Int32]
        // How many of them are a prompt; the others are decoded one by one.
        let prompt: Int
    }

    private func sequences(
        _ model: DecoderModel, longest: Int, on compute: Compute
    ) -> [Sequence] {
        let adapters: [PackedDeltas?] = [
            PackedDeltas(
                adapter(rank: 4, seed: 2, of: model), for: model.configuration, on: compute),
            nil,
            PackedDeltas(
                adapter(rank: 16, seed: 3, scales: true, of: model), for: model.configuration,
                on: compute),
            PackedDeltas(
                adapter(rank: 33, seed: 4, of: model), for: model.configuration, on: compute),
        ]
        // Adapters in no order; two sequences of one; prompts of one token, of some and of many.
        return [(0, 9), (2, 1), (1, 40), (0, longest), (3, 17), (2, 60), (1, 2)].enumerated().map {
            index, shape in
            Sequence(
                adapter: adapters[shape.0],
                tokens: tokens(shape.1 + 3 + index % 3, salt: index, of: model), prompt: shape.1)
        }
    }

    /// The bits of the logits after the prompt and after every decoded token, alone.
    private func alone(_ sequence: Sequence, _ pass: InferencePass) throws -> [[UInt32]] {
        let cache = pass.makeCache()
        let pieces =
            [Array(sequence.tokens[..<sequence.prompt])]
            + sequence.tokens[sequence.prompt...].map { [$0] }
        return try pieces.map {
            try pass.forward($0, cache: cache, adapter: sequence.adapter).map(\.bitPattern)
        }
    }

    /// The same of all together, prompts cut into pieces of up to `most` tokens, some sequences waiting now
    /// and then.
    private func together(
        _ sequences: [Sequence], most: Int, _ pass: InferencePass
    ) throws -> [[[UInt32]]] {
        let caches = sequences.map { _ in pass.makeCache() }
        var logits = sequences.map { _ in [[UInt32]]() }
        let V = pass.model.configuration.vocabularySize
        var step = 0
        while true {
            let left = sequences.indices.filter { caches[$0].count < sequences[$0].tokens.count }
            guard !left.isEmpty else { return logits }
            let running = left.count == 1 ? left : left.filter { ($0 + step) % 5 != 0 }
            step += 1
            guard !running.isEmpty else { continue }
            let inputs = running.map { i in
                let (begin, prompt) = (caches[i].count, sequences[i].prompt)
                let count = begin < prompt ? min(prompt - begin, (i + step) % most + 1) : 1
                return InferencePass.Input(
                    Array(sequences[i].tokens[begin..<begin + count]), after: caches[i],
                    adapter: sequences[i].adapter)
            }
            let rows = try pass.forward(inputs)
            for (row, i) in running.enumerated() where caches[i].count >= sequences[i].prompt {
                logits[i].append(rows[row * V..<(row + 1) * V].map(\.bitPattern))
            }
        }
    }

    private func expectSameBits(_ path: String, _ precision: Precision, longest: Int) throws {
        let compute = Compute(threads: 2, precision: precision, isBatchInvariant: true)
        let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
        let sequences = sequences(model, longest: longest, on: compute)
        let whole = InferencePass(model: model, compute: compute)
        let expected = try sequences.map { try alone($0, whole) }
        #expect(Set(expected.map(\.first)).count == sequences.count, "sequences that are alike")
        for (most, chunk) in [(1, 512), (13, 512), (100, 48)] {
            let pass = InferencePass(model: model, compute: compute, chunk: chunk)
            let actual = try together(sequences, most: most, pass)
            for (i, (actual, expected)) in zip(actual, expected).enumerated() {
                #expect(actual == expected, "sequence \(i), pieces of \(most), chunks of \(chunk)")
            }
        }
    }

    // Beyond 256 positions attention over halves is divided another way for a single row than for several,
    // and a window of 8 leaves out the first part.
    @Test(arguments: tiny, Precision.allCases)
    func `each sequence gets, bit for bit, what it gets alone`(
        name: String, precision: Precision
    ) throws {
        try withQuantized(name) { path in
            let positions = try ModelConfiguration(Checkpoints.open(path)).maximumPositions
            try expectSameBits(path, precision, longest: positions > 310 ? 300 : 130)
        }
    }

    @Test(.enabled(if: Fixtures.quantizedModel != nil), arguments: [Precision.fp32, .int16])
    func `the default model gives each sequence what it gets alone`(precision: Precision) throws {
        try expectSameBits(
            #require(Fixtures.quantizedModel), precision, longest: precision == .fp32 ? 300 : 200)
    }

    @Test func `an adapter is as large as its factors`() throws {
        try withQuantized(Self.tiny[0]) { path in
            for (precision, size) in [(Precision.fp32, 4), (.int16, 1)] {
                let compute = Compute(threads: 1, precision: precision)
                let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
                let adapter = adapter(rank: 3, seed: 1, of: model)
                let packed = PackedDeltas(adapter, for: model.configuration, on: compute)
                // All of the model's widths are multiples of 32: no factor is padded, but A, B and the
                // scales of bytes each begin a cache line.
                let elements = adapter.deltas.values.reduce(0) { $0 + $1.a.count + $1.b.count }
                let lines = size == 1 ? 3 * 64 * adapter.deltas.count : 0
                #expect((elements * size...elements * size + lines).contains(packed.memory))
            }
        }
    }
}
