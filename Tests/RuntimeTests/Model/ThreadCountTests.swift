import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Threads divide a computation and never a sum, so that results are the same bits for any number of them.
@Suite(.serialized) struct `Whatever the number of threads` {
    private static let tiny = ["llama_plain_mha", "llama_rope3_gqa_tied"]
    private static let trainable = [Precision.fp32, .int16]

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

    /// The bits of what `body` computes, which must be the same on one, two and three threads.
    private func expectSameBits(
        _ precision: Precision, _ body: (Compute) throws -> [Float],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        func bits(_ threads: Int) throws -> [UInt32] {
            try body(Compute(threads: threads, precision: precision)).map(\.bitPattern)
        }
        let one = try bits(1)
        #expect(!one.isEmpty, sourceLocation: sourceLocation)
        // Three do not divide the rows evenly.
        for threads in [2, 3] {
            #expect(
                try bits(threads) == one, "\(precision), \(threads) threads",
                sourceLocation: sourceLocation)
        }
    }

    /// Logits of a prompt, of a second piece behind it, and of tokens decoded after both.
    private func logits(
        _ path: String, prompt: Int, depth: Int, on compute: Compute
    ) throws -> [Float] {
        let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
        let pass = InferencePass(model: model, compute: compute)
        let cache = pass.makeCache(capacity: depth + 3)
        let tokens = tokens(depth + 3, of: model)
        var result: [Float] = []
        result += try pass.forward(
            Array(tokens[..<prompt]), cache: cache, adapter: nil, logits: .all)
        result += try pass.forward(Array(tokens[prompt..<depth]), cache: cache, adapter: nil)
        for token in tokens[depth...] {
            result += try pass.forward([token], cache: cache, adapter: nil)
        }
        return result
    }

    /// The loss of rows of uneven length, and the gradients of factors at every layer.
    private func gradients(_ path: String, rows: [Int], on compute: Compute) throws -> [Float] {
        let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
        var random = SeededGenerator(seed: 3)
        let paths = (0..<model.configuration.layerCount).flatMap { layer in
            LinearModule.llama.map { ModulePath(layer: layer, module: $0) }
        }
        var deltas: [ModulePath: LowRankDelta] = [:]
        for path in paths {
            let (outputs, inputs) = path.module.shape(in: model.configuration)
            deltas[path] = LowRankDelta(
                a: Buffer(random.floats(8 * inputs, scale: 0.05)),
                b: Buffer(random.floats(outputs * 8, scale: 0.01)), rank: 8, scale: 2,
                // The odd blocks' outputs are scaled, as DoRA's are.
                outputScale: path.layer % 2 == 1 ? Buffer(random.floats(outputs)) : nil)
        }
        let adapter = TestAdapter(deltas)
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: rows.reduce(0, +),
            recomputesBlocks: false)
        let (loss, _) = try pass.accumulate(
            rows.map {
                let row = tokens($0, of: model)
                return TrainingRow(inputIDs: row, labels: row)
            }, adapter: adapter, lossScale: 1)
        return [Float(loss)]
            + paths.flatMap { path in
                adapter.gradient(at: path).map {
                    $0.a.array + $0.b.array + ($0.outputScale?.array ?? [])
                } ?? []
            }
    }

    private func tokens(_ count: Int, of model: DecoderModel) -> [Int32] {
        (0..<Int32(count)).map { ($0 &* 7919 &+ 11) % Int32(model.configuration.vocabularySize) }
    }

    @Test(arguments: tiny, Precision.allCases)
    func `a tiny model's logits are the same`(name: String, precision: Precision) throws {
        try withQuantized(name) { path in
            try expectSameBits(precision) {
                try logits(path, prompt: 37, depth: 41, on: $0)
            }
        }
    }

    @Test(arguments: tiny, trainable)
    func `a tiny model's gradients are the same`(name: String, precision: Precision) throws {
        try withQuantized(name) { path in
            try expectSameBits(precision) { try gradients(path, rows: [37, 5, 22], on: $0) }
        }
    }

    // Past 256 positions a decoded token's attention is divided among the threads.
    @Test(.enabled(if: Fixtures.quantizedModel != nil), arguments: Precision.allCases)
    func `the default model's logits are the same`(precision: Precision) throws {
        let path = try #require(Fixtures.quantizedModel)
        try expectSameBits(precision) { try logits(path, prompt: 50, depth: 300, on: $0) }
    }

    @Test(.enabled(if: Fixtures.quantizedModel != nil), arguments: trainable)
    func `the default model's gradients are the same`(precision: Precision) throws {
        let path = try #require(Fixtures.quantizedModel)
        try expectSameBits(precision) { try gradients(path, rows: [64, 33], on: $0) }
    }
}
