import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// What training draws at random: where it comes from, and that evaluation has none of it.
@Suite struct `Noise of training` {
    private static func row(_ count: Int, position: Int) -> TrainingRow {
        let ids = (0..<Int32(count)).map { ($0 &* 37 &+ 11) % 256 }
        var row = TrainingRow(inputIDs: ids, labels: ids)
        row.position = position
        return row
    }

    private func noise(
        _ rows: [TrainingRow], width: Int, seed: UInt64 = 1, alpha: Double = 5, threads: Int = 2
    ) -> [Float] {
        let x = Buffer<Float>(rows.reduce(0) { $0 + $1.inputIDs.count } * width)
        EmbeddingNoise.add(
            alpha, to: x.pointer, width: width, rows: rows, keys: NoiseKeys(rows, seed: seed),
            on: Compute(threads: threads))
        return x.array
    }

    @Test func `an embedding's noise is uniform within its row's bound`() {
        let (count, width) = (40, 256)
        let bound = 5 / Double(count * width).squareRoot()
        let x = noise([Self.row(count, position: 3)], width: width).map { Double($0) / bound }
        #expect(x.allSatisfy { abs($0) <= 1 })
        // Ten thousand numbers, variance 1/3: within five deviations of the mean and of the variance
        // (whose own is √(1/5 − 1/9) / √n).
        let n = Double(x.count)
        let variance = x.reduce(0) { $0 + $1 * $1 } / n
        #expect(abs(x.reduce(0, +) / n) < 5 / (3 * n).squareRoot())
        #expect(abs(variance - 1.0 / 3) < 5 * (4.0 / 45 / n).squareRoot())
        // A shorter row's bound is larger.
        let short = noise([Self.row(10, position: 3)], width: width).map { Double($0) / bound }
        #expect(short.contains { $0 > 1.9 } && short.allSatisfy { abs($0) <= 2 })
    }

    @Test func `noise follows from seed and position, not from neighbours or threads`() {
        let rows = [(7, 0), (1, 1), (12, 9)].map { Self.row($0, position: $1) }
        let together = noise(rows, width: 8)
        #expect(together == rows.flatMap { noise([$0], width: 8, threads: 1) })
        #expect(together != noise(rows, width: 8, seed: 2))
        #expect(
            noise([Self.row(7, position: 0)], width: 8)
                != noise([Self.row(7, position: 1)], width: 8))
        #expect(Set(together).count == together.count)
    }

    /// The loss and the gradients of rows at positions 4, 5 and 6, `atOnce` a call.
    private func gradients(
        _ regularization: Regularization, recomputes: Bool = false, atOnce: Int = 3,
        threads: Int = 2, precision: Precision = .fp32
    ) throws -> (loss: Double, gradients: [Float], evaluated: Double) {
        let golden = try GoldenFile(modelResource("tiny_lora/llama_plain_mha.safetensors"))
        let adapter = TestAdapter(golden, scale: 1.5)
        let compute = Compute(threads: threads, precision: precision)
        let model = try DecoderModel(
            checkpoint: Checkpoints.open(modelResource("tiny/llama_plain_mha").path), on: compute)
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: 66, recomputesBlocks: recomputes,
            regularization: regularization)
        let rows = [(20, 4), (9, 5), (14, 6)].map { Self.row($0, position: $1) }
        var loss = 0.0
        for begin in stride(from: 0, to: 3, by: atOnce) {
            let part = Array(rows[begin..<min(begin + atOnce, 3)])
            loss += try pass.accumulate(part, adapter: adapter, lossScale: 1).loss
        }
        let ordered = adapter.gradients.sorted { "\($0.key)" < "\($1.key)" }
        return (
            loss, ordered.flatMap { $0.value.a.array + $0.value.b.array },
            try pass.evaluate(rows, adapter: adapter).loss
        )
    }

    private static let kinds: [Regularization] = {
        var (noise, dropout) = (Regularization(), Regularization())
        (noise.embeddingNoise, noise.seed) = (5, 3)
        (dropout.dropout, dropout.seed) = (0.3, 3)
        return [noise, dropout]
    }()

    @Test(arguments: kinds)
    func `a pass with noise repeats itself, however it is run`(kind: Regularization) throws {
        let plain = try gradients(Regularization())
        let noisy = try gradients(kind)
        #expect(plain.loss == plain.evaluated)
        #expect(noisy.evaluated == plain.evaluated)
        #expect(abs(noisy.loss - plain.loss) > 1e-3)
        // The same operations on the same numbers.
        for (recomputes, threads) in [(false, 1), (true, 2), (true, 3)] {
            let again = try gradients(kind, recomputes: recomputes, threads: threads)
            #expect(again.loss == noisy.loss && again.gradients == noisy.gradients)
        }
        // Rows apart: the same noise, sums in another order.
        for atOnce in [1, 2] {
            let apart = try gradients(kind, atOnce: atOnce)
            #expect(abs(apart.loss / noisy.loss - 1) < 1e-6)
            GradientCheck.expectClose(
                apart.gradients, noisy.gradients.map(Double.init), within: 1e-5)
        }
        var other = kind
        other.seed += 1
        #expect(try gradients(other).loss != noisy.loss)
        // Activations kept as halves, where arithmetic is in 16 bits.
        let halves = try gradients(kind, precision: .int16)
        #expect(abs(halves.loss / noisy.loss - 1) < 1e-2)
    }

    // Central differences of an fp32 loss near 200: rounding 2e-5 over a step of 2 · 4e-3, and the third
    // derivative's 1e-5.
    @Test(arguments: kinds)
    func `gradients under noise are those of the noisy loss`(kind: Regularization) throws {
        let golden = try GoldenFile(modelResource("tiny_lora/llama_plain_mha.safetensors"))
        let adapter = TestAdapter(golden, scale: 1.5)
        let compute = Compute(threads: 2, precision: .fp32)
        let model = try DecoderModel(
            checkpoint: Checkpoints.open(modelResource("tiny/llama_plain_mha").path), on: compute)
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: 66, recomputesBlocks: false,
            regularization: kind)
        let rows = [Self.row(20, position: 4), Self.row(9, position: 5)]
        func loss() throws -> Double {
            try pass.accumulate(rows, adapter: adapter, lossScale: 0).loss
        }
        _ = try pass.accumulate(rows, adapter: adapter, lossScale: 1)
        for (path, gradient) in adapter.gradients {
            let delta = try #require(adapter.deltas[path])
            for (factor, gradient) in [(delta.a, gradient.a), (delta.b, gradient.b)] {
                // Along the gradient itself, where the loss moves most.
                let direction = gradient.array
                let norm = direction.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
                let before = factor.array
                func moved(_ step: Double) throws -> Double {
                    for i in 0..<factor.count {
                        factor[i] = before[i] + Float(step * Double(direction[i]) / norm)
                    }
                    return try loss()
                }
                let slope = try (moved(4e-3) - moved(-4e-3)) / 8e-3
                _ = try moved(0)
                #expect(abs(slope - norm) < 1e-2 * max(1, norm), "\(path): \(slope), \(norm)")
            }
        }
    }
}
