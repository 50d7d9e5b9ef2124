import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct DataCheckTests {
    private func check(_ text: String) throws -> DataCheck {
        let data = try SmallData()
        return try DataCheck(
            jsonl: data.write(text), tokenizer: TrainingDataTests.byteTokenizer(),
            chatTemplate: nil, maximumLength: 8)
    }

    @Test func `bad lines are named, the first twenty, and the others counted`() throws {
        let check = try check("{\"text\": \"a\"}\n" + String(repeating: "{\n[1]\n", count: 15))
        #expect(check.errorCount == 30 && check.errors.count == 20)
        #expect(check.errors[0].subject.hasSuffix("line 2"))
        #expect(check.errors[19].subject.hasSuffix("line 21"))
        #expect(check.rows.count == 1 && check.report.training.tokens == 2)
    }

    @Test func `a good file has no errors, and one with nothing to learn has one`() throws {
        #expect(try check(SmallData.lines(["a", "b"])).errorCount == 0)
        for text in ["", "\n", "{\"input_ids\": [1, 2], \"labels\": [-100, -100]}"] {
            #expect(try check(text).errors.count == 1)
        }
    }

    @Test func `a row's text is divided where training begins and ends`() throws {
        let tokenizer = try TrainingDataTests.byteTokenizer()
        let row = TrainingRow(
            inputIDs: [97, 98, 99, 100, 258], labels: [97, -100, 99, 100, -100])
        #expect(
            row.spans(tokenizer) == [
                .init(text: "ab", isTrained: false), .init(text: "cd", isTrained: true),
                .init(text: "<|end|>", isTrained: false),
            ])
    }

    /// The template that a chat was trained with, the one that answers are asked with, and the one whose
    /// digest the bundle states are one.
    @Test(
        arguments: [Fixtures.quantizedModel, Fixtures.floatModel].compactMap { $0 })
    func `the bundle's digest is of the template that rendered`(path: String) throws {
        let model = try LanguageModel(path: path, compute: Compute(threads: 2))
        var options = AdapterBundle.Options()
        try options.state(model)
        let file = try #require(
            try TokenizerFiles(model.checkpoint).files["chat_template.jinja"])
        #expect(options.chatTemplateDigest == sha256(Array(file)))
        let template = try #require(model.chatTemplate)
        let data = try SmallData()
        try data.write(
            #"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}"#
        )
        let row = try TrainingData(
            jsonl: data.folder["rows.jsonl"], tokenizer: model.tokenizer, chatTemplate: template,
            maximumLength: 512
        ).rows.row(at: 0)
        let asked = try model.chatPrompt([ChatMessage(role: "user", content: "Hi")])
        #expect(Array(row.inputIDs.prefix(asked.count)) == asked)
        #expect(row.labels.prefix(asked.count).allSatisfy { $0 == -100 })
        #expect(model.tokenizer.decode(row.inputIDs.dropFirst(asked.count)) == "Yo<|im_end|>\n")
    }
}
