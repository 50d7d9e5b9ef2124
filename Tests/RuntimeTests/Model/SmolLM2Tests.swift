import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// The default model, unquantized and in NF4, against what transformers computes.
@Suite(.enabled(if: Fixtures.quantizedModel != nil), .serialized)
struct `The default model` {
    // Logits reach 30 after 30 blocks of fp32 sums in another order than PyTorch's; where the two
    // likeliest tokens are closer than that difference, either may be the likeliest.
    private static let tolerance: Float = 2e-3

    @Test(arguments: ["fp32", "nf4dq"], ["p0", "p1", "p2"])
    func `logits are those of transformers`(kind: String, prompt: String) throws {
        let path = kind == "fp32" ? Fixtures.floatModel : Fixtures.quantizedModel
        let compute = Compute(precision: .fp32)
        let model = try DecoderModel(checkpoint: Checkpoints.open(#require(path)), on: compute)
        let golden = try GoldenFile(modelResource("smollm2_logits.safetensors"))
        let pass = InferencePass(model: model, compute: compute)
        let ids = golden.int32s("\(prompt)/input_ids")
        let V = model.configuration.vocabularySize
        let cache = pass.makeCache(capacity: ids.count)
        let logits = try pass.forward(ids, cache: cache, adapter: nil, logits: .all)

        let last = golden.floats("\(prompt)/\(kind)/last_logits")
        let worst = zip(logits.suffix(V), last).map { abs($0 - $1) }.max()
        #expect(try #require(worst) <= Self.tolerance)
        for (i, expected) in golden.int32s("\(prompt)/\(kind)/argmax").enumerated() {
            let z = logits[i * V..<(i + 1) * V]
            let largest = try #require(z.max())
            #expect(z[i * V + Int(expected)] >= largest - Self.tolerance, "position \(i)")
        }
        let logProbabilities = golden.doubles("\(prompt)/\(kind)/target_logprob")
        cache.truncate(to: 0)
        let actual = try pass.logProbabilities(of: ids, cache: cache, adapter: nil)
        // Log probabilities differ by the errors of a logit and of the log-sum-exp.
        let difference = zip(actual, logProbabilities).map { abs(Double($0) - $1) }.max()
        #expect(actual.count == logProbabilities.count)
        #expect(try #require(difference) <= 2 * Double(Self.tolerance))
    }

    // Log probabilities over a text, of which perplexity is the mean: what integer products change.
    // 16 bits leave an error of 3e-4 a product and the 8-bit output projection one of 6e-3; 8 bits one of
    // 1e-2 a product. Of 30 blocks' errors, independent of each other, some tenths survive.
    @Test(arguments: [(Precision.int16, 0.03), (.int8, 0.3)])
    func `integer products keep log probabilities`(precision: Precision, tolerance: Double) throws {
        let golden = try GoldenFile(modelResource("smollm2_logits.safetensors"))
        let ids = golden.int32s("p2/input_ids")
        let path = try #require(Fixtures.quantizedModel)
        func scores(_ compute: Compute) throws -> [Float] {
            let model = try DecoderModel(checkpoint: Checkpoints.open(path), on: compute)
            let pass = InferencePass(model: model, compute: compute)
            let cache = pass.makeCache(capacity: ids.count)
            return try pass.logProbabilities(of: ids, cache: cache, adapter: nil)
        }
        let exact = try scores(Compute(precision: .fp32))
        let actual = try scores(Compute(precision: precision))
        let squares = zip(exact, actual).map { Double($0 - $1) * Double($0 - $1) }
        let error = (squares.reduce(0, +) / Double(squares.count)).squareRoot()
        #expect(error <= tolerance)
        // The same bits for any number of threads and pieces of the prompt.
        #expect(try scores(Compute(threads: 1, precision: precision)) == actual)
        print("\(precision): log probabilities differ by \(error) (root mean square)")
    }
}
