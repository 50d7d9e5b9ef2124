import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Gradients of the default model in NF4 against PEFT's: rank 8, alpha 16, four rows of 64 tokens.
@Suite(.enabled(if: Fixtures.quantizedModel != nil), .serialized)
struct `A training step of the default model` {
    // PEFT's mean losses (train_lora.json, steps 0 and 1), fp32.
    private static let losses = [2.8171844482421875, 2.8661513328552246]

    // Relative to a tensor's largest gradient. 30 blocks of fp32 sums leave an error of this size:
    // PEFT's own fp32 gradients are up to 3.2e-4 from the fp64 ones that are recorded here, ours
    // 6.6e-4, both in the last block's attention, whose gradients nearly cancel.
    private static let tolerance = 1e-3

    private func trainingPass(
        recomputes: Bool, on compute: Compute = Compute(precision: .fp32)
    ) throws -> TrainingPass {
        let path = try #require(Fixtures.quantizedModel)
        return TrainingPass(
            model: try DecoderModel(checkpoint: Checkpoints.open(path), on: compute),
            compute: compute, maximumTokens: 256, recomputesBlocks: recomputes)
    }

    private func rows(_ ids: [Int32], step: Int) -> [TrainingRow] {
        (4 * step..<4 * step + 4).map {
            let row = Array(ids[$0 * 64..<($0 + 1) * 64])
            return TrainingRow(inputIDs: row, labels: row)
        }
    }

    @Test(arguments: [true, false])
    func `the first step's gradients are those of the same model in fp64`(recomputes: Bool) throws {
        // B is 0 at the first step: layers whose A was not recorded change nothing, and dA is 0.
        let golden = try GoldenFile(modelResource("smollm2_training_step.safetensors"))
        var deltas: [ModulePath: LowRankDelta] = [:]
        for name in golden.names where name.hasSuffix(".lora_A.weight") {
            let path = try #require(ModulePath(name.dropLast(".lora_A.weight".count)))
            deltas[path] = LowRankDelta(
                a: Buffer(golden.floats(name)),
                b: Buffer(golden.shape("grad/\(path).lora_B.weight").reduce(1, *)), rank: 8,
                scale: 2)
        }
        let adapter = TestAdapter(deltas)
        let pass = try trainingPass(recomputes: recomputes)
        let (loss, targets) = try pass.accumulate(
            rows(golden.int32s("input_ids"), step: 0), adapter: adapter,
            lossScale: 1 / Float(4 * 63))
        #expect(targets == 4 * 63)
        #expect(abs(loss / Double(targets) - Self.losses[0]) < 1e-5)
        #expect(adapter.gradients.count == 14)
        for (path, gradient) in adapter.gradients {
            let expected = golden.doubles("grad/\(path).lora_B.weight")
            let largest = expected.reduce(0) { max($0, abs($1)) }
            GradientCheck.expectClose(
                gradient.b.elements.map { $0 / Float(largest) }, expected.map { $0 / largest },
                within: Self.tolerance, "\(path)")
            #expect(gradient.a.elements.allSatisfy { $0 == 0 })
        }
    }

    // A hundredth is what the default precision promises, not a bound that follows from the arithmetic: a
    // product is within 3e-4 and the 8-bit output projection within 6e-3, and blocks carry both on.
    // Measured 9.4e-3 with AVX-512.
    @Test func `gradients in 16 bits are within a hundredth of fp32's`() throws {
        let golden = try GoldenFile(modelResource("smollm2_training_step.safetensors"))
        let rows = rows(golden.int32s("input_ids"), step: 0)
        func gradients(_ compute: Compute) throws -> (Double, [ModulePath: LowRankGradient]) {
            let pass = try trainingPass(recomputes: false, on: compute)
            var random = SeededGenerator(seed: 5)
            var deltas: [ModulePath: LowRankDelta] = [:]
            for layer in 0..<pass.model.configuration.layerCount {
                for module in LinearModule.llama {
                    let (outputs, inputs) = module.shape(in: pass.model.configuration)
                    deltas[ModulePath(layer: layer, module: module)] = LowRankDelta(
                        a: Buffer(random.floats(8 * inputs, scale: 0.05)),
                        b: Buffer(random.floats(outputs * 8, scale: 0.01)), rank: 8, scale: 2)
                }
            }
            let adapter = TestAdapter(deltas)
            let loss = try pass.accumulate(rows, adapter: adapter, lossScale: 1 / 252)
            return (loss.loss / 252, adapter.gradients)
        }
        let (exactLoss, exact) = try gradients(Compute(precision: .fp32))
        let (loss, actual) = try gradients(Compute(precision: .int16))
        #expect(abs(loss / exactLoss - 1) < 1e-3)
        var (error, norm) = (0.0, 0.0)
        for (path, expected) in exact {
            let gradient = try #require(actual[path])
            for (a, b) in zip(
                expected.a.array + expected.b.array, gradient.a.array + gradient.b.array)
            {
                error += Double(a - b) * Double(a - b)
                norm += Double(a) * Double(a)
            }
        }
        print("int16: gradients differ by \((error / norm).squareRoot()) of their norm")
        #expect((error / norm).squareRoot() < 0.01)
    }

    private static let recorded = Fixtures.reference("train_init_A.safetensors") != nil

    @Test(.enabled(if: recorded))
    func `the second step's gradients are those of PEFT`() throws {
        func golden(_ name: String) throws -> GoldenFile {
            let path = try #require(Fixtures.reference("\(name).safetensors"))
            return try GoldenFile(URL(filePath: path))
        }
        let (initial, tensors) = (
            try golden("train_init_A"), try golden("train_lora_step_tensors")
        )
        let ids = try golden("train_data").int32s("input_ids")
        let pass = try trainingPass(recomputes: false)
        let prefix = "base_model.model."
        var deltas: [ModulePath: LowRankDelta] = [:]
        for name in initial.names {
            let path = try #require(
                ModulePath(name.dropFirst(prefix.count).dropLast(".lora_A.weight".count)))
            let weight = try #require(pass.model.weight(at: path))
            deltas[path] = LowRankDelta(
                a: Buffer(initial.floats(name)), b: Buffer(8 * weight.rows), rank: 8, scale: 2)
        }
        let adapter = TestAdapter(deltas)
        _ = try pass.accumulate(rows(ids, step: 0), adapter: adapter, lossScale: 1 / 252)
        // AdamW's first step: g / (|g| + ε) once the bias of both moments is taken out.
        for (path, delta) in deltas {
            let g = try #require(adapter.gradients[path]).b
            for i in 0..<g.count { delta.b[i] -= 1e-3 * g[i] / (abs(g[i]) + 1e-8) }
        }
        adapter.zeroGradients()
        let (loss, _) = try pass.accumulate(
            rows(ids, step: 1), adapter: adapter, lossScale: 1 / 252)
        #expect(abs(loss / 252 - Self.losses[1]) < 1e-4)
        for (path, gradient) in adapter.gradients where path.layer == 0 || path.layer == 29 {
            let name = "step1/grad/\(prefix)\(path)"
            // Absolute: Adam's first step takes the sign of gradients that are mere rounding, so
            // a few elements of B already differ by 2e-3.
            for (factor, actual) in [("A", gradient.a), ("B", gradient.b)] {
                GradientCheck.expectClose(
                    actual.elements, tensors.doubles("\(name).lora_\(factor).weight"),
                    within: 1e-4, "\(path) \(factor)")
            }
        }
    }
}
