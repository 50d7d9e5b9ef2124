import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// The formulas of a memory plan against what is really allocated.
@Suite struct `Memory formulas` {
    private static let shapes = [
        ModelConfiguration(
            hiddenSize: 64, intermediateSize: 192, layerCount: 3, headCount: 4,
            keyValueHeadCount: 2, headSize: 16, vocabularySize: 300, maximumPositions: 512,
            normEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: nil, tiesEmbeddings: true),
        ModelConfiguration(
            hiddenSize: 128, intermediateSize: 320, layerCount: 1, headCount: 8,
            keyValueHeadCount: 8, headSize: 32, vocabularySize: 2000, maximumPositions: 512,
            normEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: nil, tiesEmbeddings: false),
    ]

    @Test(arguments: shapes.indices, [1, 50, 700])
    func `what blocks work with takes what the formulas say`(shape: Int, tokens: Int) {
        let configuration = Self.shapes[shape]
        for precision in [Precision.fp32, .int16] {
            let compute = Compute(threads: 2, precision: precision)
            for recomputes in [false, true] {
                let store = AllocationMeter.measure {
                    ActivationStore<BlockActivations>(
                        configuration, tokens: tokens, recomputes: recomputes, on: compute)
                }
                #expect(
                    store.bytes
                        == ActivationStore<BlockActivations>.memory(
                            configuration, tokens: tokens, recomputes: recomputes,
                            precision: precision))
            }
        }
        let compute = Compute(threads: 2)
        let backward = AllocationMeter.measure { BackwardScratch(configuration, tokens: tokens) }
        #expect(backward.bytes == BackwardScratch.memory(configuration, tokens: tokens))
        let linear = AllocationMeter.measure {
            let scratch = LinearScratch(tokens: tokens, on: compute)
            for rank in [4, 8] {
                scratch.reserve(
                    LowRankDelta(a: Buffer(rank * 3), b: Buffer(rank * 20), rank: rank, scale: 1))
            }
            return scratch
        }
        #expect(linear.bytes == LinearScratch.memory(tokens: tokens, rank: 8, outputs: 20))
    }

    @Test func `kernels' scratch takes what the formula says`() {
        for threads in [1, 3] {
            let compute = AllocationMeter.measure { Compute(threads: threads) }
            #expect(compute.bytes == Compute.memory(threads: threads))
        }
    }

    /// A whole pass: everything that is there after a step on its largest batch.
    @Test(
        arguments: tinyDecoders,
        [(Precision.fp32, false), (.fp32, true), (.int16, false), (.int16, true)])
    func `a pass takes what the formulas say once it has seen its largest batch`(
        name: String, way: (precision: Precision, recomputes: Bool)
    ) throws {
        let (precision, recomputes) = way
        try Fixtures.withTemporaryFolder { folder in
            let path = folder + "/nf4"
            try quantize(
                source: Checkpoints.open(modelResource("tiny/\(name)").path), to: path,
                options: QuantizeOptions(), replace: false, compute: Compute())
            for source in [path, modelResource("tiny/\(name)").path] {
                let compute = Compute(threads: 2, precision: precision)
                let checkpoint = try Checkpoints.open(source)
                let model = try DecoderModel(checkpoint: checkpoint, on: compute)
                let memory = try DecoderModel.memory(of: checkpoint, precision: precision)
                let vectors = try checkpoint.tensorNames.map(checkpoint.shape).filter {
                    $0.count == 1
                }
                let floats = vectors.reduce(0) { $0 + $1[0] }
                #expect(memory.weights == model.weightMemory + 4 * floats)
                try expectPass(of: model, memory, recomputes: recomputes, on: compute)
            }
        }
    }

    private func expectPass(
        of model: DecoderModel, _ memory: DecoderModel.Memory, recomputes: Bool, on compute: Compute
    ) throws {
        let all = model.configuration.modules.all
        let modules = [all[0], all[all.count - 2], .down]
        var random = SeededGenerator(seed: 3)
        var deltas: [ModulePath: LowRankDelta] = [:]
        for layer in 0..<model.configuration.layerCount {
            for module in modules {
                let (outputs, inputs) = module.shape(in: model.configuration)
                deltas[ModulePath(layer: layer, module: module)] = LowRankDelta(
                    a: Buffer(random.floats(4 * inputs, scale: 0.1)),
                    b: Buffer(random.floats(outputs * 4, scale: 0.1)), rank: 4, scale: 1)
            }
        }
        let adapter = TestAdapter(deltas)
        for (length, chunk) in [(90, nil), (70, 32)] as [(Int, Int?)] {
            let ids = (0..<Int32(length)).map { ($0 * 7 + 3) % 90 }
            let rows = [TrainingRow](
                repeating: TrainingRow(inputIDs: ids, labels: ids), count: 2)
            let measured = try AllocationMeter.measure {
                let pass = TrainingPass(
                    model: model, compute: compute, maximumTokens: 2 * length,
                    recomputesBlocks: recomputes, lossChunk: chunk)
                _ = try pass.accumulate(rows, adapter: adapter, lossScale: 1)
                return pass
            }
            let plan = TrainingPass.memory(
                memory,
                TrainingPass.Dimensions(
                    tokens: 2 * length, longestRow: length, rank: 4, modules: modules,
                    recomputesBlocks: recomputes, lossChunk: chunk, precision: compute.precision,
                    threads: compute.pool.count))
            let sum =
                plan.activations + plan.logits + plan.attention + plan.lowRank + plan.scratch
            // The kernels' scratch was there before.
            #expect(measured.bytes == sum - Compute.memory(threads: compute.pool.count))
        }
    }

    @Test func `of a mapped embedding the pages count that the tokens read`() throws {
        let checkpoint = try Checkpoints.open(modelResource("tiny/llama_plain_mha").path)
        let memory = try DecoderModel.memory(of: checkpoint, precision: .int16)
        let whole = memory.embeddingMemory(of: nil)
        #expect(whole > 0 && whole % memory.configuration.vocabularySize == 0)
        #expect(memory.embeddingMemory(of: []) == 0)
        let (one, all) = (
            memory.embeddingMemory(of: [0]),
            memory.embeddingMemory(of: Set(0..<Int32(memory.configuration.vocabularySize)))
        )
        #expect(one > 0 && one <= all && all <= whole)
    }
}
