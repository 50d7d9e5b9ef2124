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
        let model = try LlamaModel(checkpoint: Checkpoints.open(#require(path)))
        let golden = try GoldenFile(modelResource("smollm2_logits.safetensors"))
        let pass = InferencePass(model: model, compute: Compute())
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
}
