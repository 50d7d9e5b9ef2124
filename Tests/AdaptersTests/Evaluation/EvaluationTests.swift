import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct EvaluationTests {
    private static let template =
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        + "{% if add_generation_prompt %}<assistant>{% endif %}"
    private static let choices = """
        {"instruction": "Is it? true/false", "input": "", "output": "it is true.", "answer": "true"}

        {"instruction": "Is he? true or false", "output": "it is false.", "answer": "false"}
        """

    /// Runs `body` on a tiny model and a file of `rows`.
    private func with<Result>(
        _ rows: String, template: String? = nil,
        _ body: (LanguageModel, _ path: String) throws -> Result
    ) throws -> Result {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model", chatTemplate: template)
            let path = folder + "/task.jsonl"
            try Data(rows.utf8).write(to: URL(filePath: path))
            return try body(
                LanguageModel(
                    path: folder + "/model", compute: Compute(threads: 2, precision: .fp32)), path)
        }
    }

    private func results(
        _ rows: String, template: String? = nil,
        _ change: (inout Evaluation.Options) -> Void = { _ in },
        adapter: (DecoderModel) -> (any LowRankDeltas)? = { _ in nil }
    ) throws -> EvaluationResult {
        var options = Evaluation.Options()
        change(&options)
        return try with(rows, template: template) { model, path in
            let task = try EvaluationTask(jsonl: path, name: "t", model: model, options: options)
            return try Evaluation(model, options: options).run(
                [task], adapter: adapter(model.model))[0]
        }
    }

    private func failure(
        _ rows: String, _ measure: EvaluationMeasure? = nil
    ) throws -> LorikeetError? {
        do {
            _ = try results(rows) { $0.measure = measure }
        } catch { return error as? LorikeetError }
        return nil
    }

    private func ranked(_ row: EvaluatedRow) throws -> (choices: [String], scores: [Double]) {
        guard case .ranked(let choices, let scores, _) = row.outcome else {
            throw LorikeetError(.invalidArgument, "row \(row.line)", "was not ranked")
        }
        return (choices, scores)
    }

    /// log p of `continuation` behind `prompt`, token by token.
    private func logLikelihood(
        _ prompt: String, _ continuation: String, _ model: LanguageModel
    ) throws -> Double {
        let pass = InferencePass(model: model.model, compute: model.compute)
        let tokens = (prompt + continuation).utf8.map(Int32.init)
        return try pass.logProbabilities(of: tokens, cache: pass.makeCache(), adapter: nil)
            .suffix(continuation.utf8.count).reduce(0) { $0 + Double($1) }
    }

    private static func alpaca(_ instruction: String) -> String {
        "Below is an instruction that describes a task. Write a response that appropriately "
            + "completes the request.\n\n### Instruction:\n\(instruction)\n\n### Response:\n"
    }

    // MARK: Measures

    @Test(arguments: [nil, PromptStyle.alpaca, .chat])
    func `a choice by likelihood takes the likelier of the answers within the output`(
        style: PromptStyle?
    ) throws {
        var options = Evaluation.Options()
        options.measure = .likelihood
        options.prompt = style
        try with(Self.choices, template: Self.template) { model, path in
            let task = try EvaluationTask(jsonl: path, name: "t", model: model, options: options)
            let result = try Evaluation(model).run([task])[0]
            #expect(result.rows.map(\.line) == [1, 3])
            for (row, question) in zip(result.rows, ["Is it? true/false", "Is he? true or false"]) {
                let prompt =
                    style == .alpaca ? Self.alpaca(question) : "<user>\(question)<assistant>"
                let (choices, scores) = try ranked(row)
                #expect(choices == ["true", "false"])
                for (choice, score) in zip(choices, scores) {
                    let expected = try logLikelihood(prompt, "it is \(choice).", model)
                    // A dozen logarithms, each within 1e-4.
                    #expect(abs(score - expected) <= 2e-3)
                }
                #expect(row.prediction == (scores[0] >= scores[1] ? "true" : "false"))
            }
        }
    }

    @Test func `listed choices follow the prompt as they are`() throws {
        let rows = #"{"prompt": "2+2=", "choices": ["4", "five", "fish"], "answer": "4"}"#
        try with(rows) { model, path in
            let task = try EvaluationTask(jsonl: path, name: "t", model: model)
            #expect(task.measure == .likelihood)
            let (choices, scores) = try ranked(Evaluation(model).run([task])[0].rows[0])
            for (choice, score) in zip(choices, scores) {
                #expect(abs(score - (try logLikelihood("2+2=", choice, model))) <= 1e-3)
            }
        }
    }

    @Test func `a choice by generation is the first answer in the greedy text`() throws {
        try with(Self.choices) { model, path in
            let task = try EvaluationTask(jsonl: path, name: "t", model: model)
            #expect(task.measure == .generation)
            let result = try Evaluation(model).run([task])[0]
            for (row, question) in zip(result.rows, ["Is it? true/false", "Is he? true or false"]) {
                guard case .generated(let text, let prediction, _) = row.outcome else {
                    Issue.record("not generated")
                    continue
                }
                var request = GenerationRequest(
                    prompt: Self.alpaca(question).utf8.map(Int32.init))
                request.maximumTokens = 32
                #expect(try TextGenerator(model).generate(request).text.hasPrefix(text))
                #expect(prediction == AnswerSearch(["true", "false"]).first(in: text))
            }
        }
    }

    @Test func `a likelihood does not depend on the batch`() throws {
        let rows = (0..<7).map {
            #"{"prompt": "\#(String(repeating: "ab", count: $0 * 3))?", "choices": ["x", "yes", "yet"], "answer": "x"}"#
        }.joined(separator: "\n")
        let alone = try results(rows) { $0.batchSize = 1 }
        let together = try results(rows) { $0.batchSize = 3 }
        for (a, b) in zip(alone.rows, together.rows) {
            for (x, y) in zip(try ranked(a).scores, try ranked(b).scores) {
                #expect(abs(x - y) <= 1e-3)
            }
        }
    }

    @Test func `perplexity is exp of training's mean loss, with the adapter`() throws {
        let rows = """
            {"text": "one and two"}
            {"prompt": "three, ", "completion": "four"}
            """
        func adapter(_ model: DecoderModel) -> any LowRankDeltas {
            let path = ModulePath(layer: 0, module: .query)
            let (outputs, inputs) = path.module.shape(in: model.configuration)
            var random = SeededGenerator(seed: 1)
            return TestAdapter([
                path: LowRankDelta(
                    a: Buffer(random.floats(2 * inputs, scale: 0.5)),
                    b: Buffer(random.floats(outputs * 2, scale: 0.5)), rank: 2, scale: 1)
            ])
        }
        let result = try results(rows, { $0.measure = .perplexity }, adapter: adapter)
        let plain = try results(rows) { $0.measure = .perplexity }
        // "ne and two" and "four"
        #expect(result.tokens == 14)
        #expect(result.accuracy == nil)
        let expected = try with(rows) { model, path in
            let data = try TrainingData(
                jsonl: path, tokenizer: model.tokenizer, chatTemplate: nil, maximumLength: 100)
            let pass = TrainingPass(
                model: model.model, compute: model.compute, maximumTokens: 100,
                recomputesBlocks: false)
            let rows = try (0..<data.rows.count).map { try data.rows.row(at: $0) }
            let (loss, targets) = try pass.evaluate(rows, adapter: adapter(model.model))
            return exp(loss / Double(targets))
        }
        let perplexity = try #require(result.perplexity)
        // A mean of losses within 1e-4 each.
        #expect(abs(log(perplexity) - log(expected)) <= 2e-4)
        #expect(abs(log(perplexity) - log(try #require(plain.perplexity))) > 1e-3)
    }

    @Test func `an exact match is one after trimming, and a normalized one after more`() {
        func row(_ text: String, _ expected: String) -> EvaluatedRow {
            EvaluatedRow(line: 1, outcome: .matched(text: text, expected: expected))
        }
        #expect(row(" Paris\n", "Paris").isCorrect == true)
        #expect(row("paris.", "Paris").isCorrect == false)
        #expect(row("The  paris.", "Paris").isCorrectNormalized == true)
        #expect(row("Lyon", "Paris").isCorrectNormalized == false)
        #expect(row("Théâtre", "théâtre!").isCorrectNormalized == true)
    }

    @Test func `an exact match is what the model says greedily`() throws {
        let said = try with("") { model, _ in
            var request = GenerationRequest(prompt: "Hello".utf8.map(Int32.init))
            request.maximumTokens = 6
            return try TextGenerator(model).generate(request).text
        }
        let rows: JSON = ["prompt": "Hello", "completion": .string(said)]
        let result = try results(rows.text()) { $0.maximumTokens = 6 }
        guard case .matched(let text, let expected) = result.rows[0].outcome else {
            Issue.record("not matched")
            return
        }
        #expect(expected == said)
        // It may take one token more than expected: then it is another text.
        #expect(text.hasPrefix(said))
        #expect(result.accuracy == (text == said ? 1 : 0))
    }

    // MARK: Runs

    @Test func `a limit takes the first rows and a stop ends the run`() throws {
        let rows = (0..<9).map { _ in #"{"text": "abc"}"# }.joined(separator: "\n")
        #expect(try results(rows + "\nnot JSON") { $0.limit = 9 }.rows.map(\.line) == Array(1...9))
        try with(rows) { model, path in
            let tasks = try ["a", "b"].map {
                try EvaluationTask(jsonl: path, name: $0, model: model)
            }
            var seen: [Int] = []
            let results = try Evaluation(model).run(tasks) { progress in
                #expect(progress.total == 18)
                seen.append(progress.done)
                return progress.done < 12
            }
            #expect(seen == Array(1...12))
            #expect(results.map(\.rows.count) == [9, 3])
        }
    }

    @Test func `an average counts every task the same`() throws {
        let rows = try with(Self.choices) { model, path in
            let evaluation = Evaluation(model)
            return try evaluation.run([EvaluationTask(jsonl: path, name: "t", model: model)])[0]
        }
        let accuracy = try #require(rows.accuracy)
        #expect(EvaluationResult.averageAccuracy([rows, rows]) == accuracy)
        #expect(EvaluationResult.averageAccuracy([]) == nil)
    }

    @Test func `names are what the paths do not share`() {
        #expect(EvaluationTask.names(["/a/b/boolq/test.jsonl"]) == ["test"])
        #expect(
            EvaluationTask.names(["/a/boolq/test.jsonl", "/a/piqa/test.jsonl"]) == [
                "boolq/test", "piqa/test",
            ])
        #expect(EvaluationTask.names(["x.jsonl", "x.jsonl", "d/y"]) == ["x", "x", "d/y"])
    }

    // MARK: Bad input

    @Test(
        arguments: [
            ("", nil, "task.jsonl", "no rows"),
            ("[1]", nil, "line 1", "JSON object"),
            ("{\"text\": \"a\"}\n{\"text\": ", nil, "line 2", "not valid JSON"),
            (#"{"answer": "true"}"#, nil, "line 1", "asks anything"),
            (#"{"instruction": "x", "output": "y"}"#, .likelihood, "line 1", "no \"answer\""),
            (
                #"{"instruction": "x", "answer": "maybe"}"#, nil, "line 1",
                "none of the known answers"
            ),
            (#"{"instruction": "x", "answer": "true"}"#, nil, "line 1", "not among the choices"),
            (#"{"instruction": "true?", "answer": "true"}"#, nil, "line 1", "a single answer"),
            (
                #"{"instruction": "answer1 answer2", "answer": "answer3"}"#, nil, "line 1",
                "not among the choices"
            ),
            (
                #"{"instruction": "true/false", "output": "no", "answer": "true"}"#, .likelihood,
                "line 1", "does not contain the answer"
            ),
            (
                #"{"prompt": "x", "choices": ["a", "b"], "answer": "c"}"#, nil, "line 1",
                "not among the choices"
            ),
            (#"{"prompt": "x", "choices": ["a"], "answer": "a"}"#, nil, "line 1", "two or more"),
            (#"{"prompt": "x", "choices": ["a", 1], "answer": "a"}"#, nil, "line 1", "two or more"),
            (#"{"prompt": "", "completion": "a"}"#, nil, "line 1", "the prompt is empty"),
            (#"{"prompt": 5, "completion": "a"}"#, nil, "line 1", "no string"),
            (#"{"text": "a"}"#, .exact, "line 1", "what is expected"),
            (#"{"prompt": "a", "completion": ""}"#, .perplexity, "line 1", "is a target"),
        ] as [(String, EvaluationMeasure?, String, String)])
    func `bad input names its line`(
        rows: String, measure: EvaluationMeasure?, place: String, problem: String
    ) throws {
        let error = try #require(try failure(rows, measure))
        #expect(error.subject.hasSuffix(place), "\(error)")
        #expect(error.problem.contains(problem), "\(error)")
    }

    @Test(arguments: EvaluationMeasure.allCases)
    func `a row longer than the context is refused before any work`(
        measure: EvaluationMeasure
    ) throws {
        let long = String(repeating: "x", count: 1200)
        let row: JSON = [
            "instruction": .string("true/false \(long)"), "output": "true", "answer": "true",
        ]
        let error = try #require(try failure(Self.choices + "\n" + row.text(), measure))
        #expect(error.subject.hasSuffix("line 4"))
        #expect(error.problem.contains("context"), "\(error)")
    }

    @Test func `a compressed file is told from a bad one`() throws {
        let error = try #require(
            try with("") { model, path -> LorikeetError? in
                try Data([0x1F, 0x8B, 8, 0]).write(to: URL(filePath: path))
                do { _ = try EvaluationTask(jsonl: path, name: "t", model: model) } catch {
                    return error as? LorikeetError
                }
                return nil
            })
        #expect(error.advice?.contains("gunzip") == true)
    }
}
