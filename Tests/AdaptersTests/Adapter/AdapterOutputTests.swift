import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Two adapters that PEFT trained, over both bases: greedy outputs as transformers and PEFT gave them.
///
/// The adapters are too big to commit (7 MB each).
@Suite(
    .enabled(
        if: Fixtures.reference("adapters.json") != nil && Fixtures.quantizedModel != nil
            && Fixtures.floatModel != nil, "needs ../shared and make models"))
struct AdapterOutputTests {
    @Test(arguments: ["fp32", "nf4dq"])
    func `greedy outputs are the recorded ones through every swap`(kind: String) throws {
        let recorded = try JSON(contentsOf: #require(Fixtures.reference("adapters.json")))
        let path = kind == "fp32" ? Fixtures.floatModel : Fixtures.quantizedModel
        let model = try LanguageModel(path: #require(path), compute: Compute(precision: .fp32))
        let registry = AdapterRegistry(model)
        for name in ["caps", "pirate"] {
            try registry.load(name: name, path: #require(Fixtures.reference("adapters/\(name)")))
        }
        let generator = TextGenerator(model)
        let prompts = try #require(recorded["prompt_ids"]?.array)
        // To an adapter, to another, and back to none.
        for name in ["base", "caps", "pirate", "base"] {
            for (index, prompt) in prompts.enumerated() {
                var request = GenerationRequest(
                    prompt: try #require(prompt.array).compactMap(\.int).map(Int32.init))
                request.maximumTokens = 32
                let answer = try generator.generate(
                    request, adapter: name == "base" ? nil : registry.adapter(name))
                let expected = recorded["out"]?["\(kind)/\(name)/q\(index)"]?["ids"]?.array?
                    .compactMap(\.int)
                #expect(answer.choices.map { Int($0.token) } == expected, "\(name) q\(index)")
            }
        }
    }
}
