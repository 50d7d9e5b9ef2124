import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct ConstraintGenerationTests {
    @Test(.enabled(if: Fixtures.quantizedModel != nil, "the model was not made"))
    func `SmolLM2 answers in a schema, greedily and by chance`() throws {
        let model = try LanguageModel(
            path: #require(Fixtures.quantizedModel), compute: Compute(threads: 1))
        let schema: JSON = [
            "type": "object",
            "properties": [
                "city": ["type": "string", "maxLength": 20],
                "inhabitants": ["type": "integer", "minimum": 1],
                "seaside": ["type": "boolean"],
            ],
            "required": ["city", "inhabitants", "seaside"], "additionalProperties": false,
        ]
        let vocabulary = ConstraintVocabulary(
            model.tokenizer, endTokens: model.endTokens,
            count: model.model.configuration.vocabularySize)
        let automaton = ConstraintAutomaton(try .jsonSchema(schema), vocabulary)
        var request = GenerationRequest(
            prompt: try model.chatPrompt([
                ChatMessage(role: "user", content: "Describe the capital of France in JSON.")
            ]))
        request.maximumTokens = 80
        let generator = TextGenerator(model, capacity: 256)
        for temperature: Float in [0, 1.5] {
            request.sampling.temperature = temperature
            let answer = try generator.generate(request, constraint: automaton.makeConstraint())
            #expect(answer.finishReason == .stop)
            let value = try JSON(parsing: answer.text, source: answer.text)
            #expect(SchemaValidator(root: schema).accepts(value, schema), "\(answer.text)")
        }
    }
}
