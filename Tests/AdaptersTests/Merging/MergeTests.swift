import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

struct MergeTests {
    private let small = SmallMerge()

    /// W + s B A in float64, scaled to DoRA's magnitudes, of one layer.
    private func naive(_ adapter: Adapter, _ path: ModulePath, _ weight: [Float]) throws -> [Double]
    {
        let delta = try #require(adapter.deltas[path])
        let (outputs, inputs) = (delta.b.count / delta.rank, delta.a.count / delta.rank)
        var merged = weight.map(Double.init)
        for o in 0..<outputs {
            for i in 0..<inputs {
                merged[o * inputs + i] += (0..<delta.rank).reduce(0.0) {
                    $0 + Double(delta.scale) * Double(delta.b[o * delta.rank + $1])
                        * Double(delta.a[$1 * inputs + i])
                }
            }
            guard let magnitude = adapter.magnitudes[path] else { continue }
            let row = o * inputs..<(o + 1) * inputs
            let norm = merged[row].reduce(0) { $0 + $1 * $1 }.squareRoot()
            for i in row { merged[i] *= Double(magnitude[o]) / norm }
        }
        return merged
    }

    @Test(arguments: [false, true])
    func `merged weights are W + s B A, with DoRA's magnitudes`(isDoRA: Bool) throws {
        let adapter = try small.adapter(size: 0.1, isDoRA: isDoRA, usesRSLoRA: true)
        for base in [try small.base(), try small.quantizedBase()] {
            let merged = MergedCheckpoint(base, adapter, on: small.compute)
            for path in adapter.deltas.keys {
                let name = "\(path).weight"
                let expected = try naive(adapter, path, elements(name, of: base))
                let largest = expected.map(abs).max() ?? 0
                // Sums of five fp32 terms, each rounded once: five units of 2⁻²⁴ of the largest.
                for (ours, theirs) in zip(try elements(name, of: merged), expected) {
                    #expect(abs(Double(ours) - theirs) <= 5 * largest * 0x1p-24 + 1e-9)
                }
                let shape = try merged.shape(of: name)
                let matrix = try merged.weights(name, rows: shape[0], columns: shape[1])
                #expect(
                    try matrix.dequantizedFloat32(on: small.compute).array
                        == elements(name, of: merged))
            }
            let untouched = "model.embed_tokens.weight"
            #expect(try elements(untouched, of: merged) == elements(untouched, of: base))
            #expect(merged.configuration["quantization_config"] == nil)
        }
    }

    @Test func `bf16 keeps a change, and 4 bits a large one`() throws {
        let adapter = try small.adapter(size: 1)
        let bf16 = try Merge(small.base(), adapter, as: .bf16, on: small.compute).survivals()
        #expect(bf16.count == 14)
        for survival in bf16 {
            // Rounding moves each weight by at most 2⁻⁹ of itself, and the change is as large as the weights.
            #expect(abs(survival.share - 1) < 0x1p-7, "\(survival)")
            #expect(survival.noise < 0x1p-7)
        }
        for base in [try small.base(), try small.quantizedBase()] {
            let merge = Merge(base, adapter, as: .nf4, on: small.compute)
            let survivals = try merge.survivals()
            #expect(MergeSurvival.share(of: survivals) > 0.9)
            // NF4's steps are some tenth of a block's largest weight.
            for survival in survivals { #expect(survival.noise > 0.01 && survival.noise < 0.5) }
            try merge.requireSurvival(survivals)
        }
    }

    @Test func `a change far below the steps of 4 bits is erased, and the merge refused`() throws {
        let adapter = try small.adapter(size: 1e-4)
        let merge = Merge(try small.quantizedBase(), adapter, as: .nf4, on: small.compute)
        let survivals = try merge.survivals()
        #expect(MergeSurvival.share(of: survivals) < 0.3)
        let error = try failure { try merge.requireSurvival(survivals) }
        #expect(error.code == .mismatch && error.problem.contains("erases"))
        #expect(error.advice?.contains("--force") == true)
        let exact = Merge(try small.base(), adapter, as: .bf16, on: small.compute)
        #expect(MergeSurvival.share(of: try exact.survivals()) > 0.5)
    }

    @Test func `no change has nothing to lose`() throws {
        let adapter = try small.adapter(size: 1e-30)
        let survivals = try Merge(small.base(), adapter, as: .bf16, on: small.compute).survivals()
        #expect(MergeSurvival.share(of: survivals) == 1)
        #expect(survivals.allSatisfy { $0.share == 1 && $0.noise == 0 })
    }

    @Test func `weights that are no numbers any more are refused`() throws {
        let adapter = try small.adapter(size: 1e38)
        let error = try failure {
            _ = try Merge(small.base(), adapter, as: .bf16, on: small.compute).survivals()
        }
        #expect(error.code == .malformed)
    }

    @Test(arguments: Merge.Storage.allCases)
    func `what is written predicts as the unmerged model does`(storage: Merge.Storage) throws {
        let adapter = try small.adapter(size: 0.3)
        let base = try small.quantizedBase()
        let merge = Merge(base, adapter, as: storage, on: small.compute)
        let folder = try TemporaryFolder()
        try merge.write(to: folder["out"], tokenizerFiles: [:])
        let written = try #require(try Checkpoints.open(folder["out"]) as? HuggingFaceFolder)
        #expect(written.isQuantized == (storage == .nf4))
        let model = try DecoderModel(checkpoint: base, on: small.compute)
        let merged = try DecoderModel(checkpoint: written, on: small.compute)
        let tokens: [Int32] = (0..<50).map { ($0 * 37 + 11) % 256 }
        func predictor(
            _ model: DecoderModel, _ adapter: Adapter? = nil
        ) -> Divergence.Predictor {
            .init(model, adapter: adapter, capacity: 50, on: small.compute)
        }
        let divergences = try Divergence.measure(
            tokens, reference: predictor(model, adapter),
            others: [predictor(merged), predictor(model), predictor(model, adapter)],
            on: small.compute)
        #expect(
            divergences[0].divergence < (storage == .bf16 ? 0.01 : 0.5) * divergences[1].divergence)
        // The same numbers twice.
        #expect(divergences[2].divergence == 0 && divergences[2].agreement == 1)
    }

    @Test func `the divergence is that of the softmax of the logits`() throws {
        let base = try small.base()
        let model = try DecoderModel(checkpoint: base, on: small.compute)
        let adapter = try small.adapter(size: 0.3)
        let tokens: [Int32] = (0..<40).map { ($0 * 31 + 5) % 256 }
        func logits(_ adapter: Adapter?) throws -> [Float] {
            let pass = InferencePass(model: model, compute: small.compute)
            return Array(
                try pass.forward(
                    tokens, cache: pass.makeCache(capacity: 40), adapter: pass.pack(adapter),
                    logits: .all))
        }
        let (p, q) = (try logits(nil), try logits(adapter))
        var expected = 0.0
        for row in 0..<40 {
            func probabilities(_ logits: [Float]) -> [Double] {
                let row = logits[row * 256..<(row + 1) * 256].map { exp(Double($0)) }
                let sum = row.reduce(0, +)
                return row.map { $0 / sum }
            }
            expected += zip(probabilities(p), probabilities(q)).reduce(0) {
                $0 + $1.0 * log($1.0 / $1.1)
            }
        }
        let measured = try Divergence.measure(
            tokens,
            reference: .init(model, capacity: 40, on: small.compute),
            others: [.init(model, adapter: adapter, capacity: 40, on: small.compute)],
            on: small.compute)[0]
        // The logits of 32 tokens at a time differ in their last bits from those of 40.
        #expect(abs(measured.divergence / (expected / 40) - 1) < 1e-4)
    }
}
