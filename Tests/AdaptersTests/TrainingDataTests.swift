import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Testing

@Suite struct TrainingDataTests {
    /// A tokenizer of bytes, so that a text's tokens are plain to see: "a" is 97; three special tokens.
    static func byteTokenizer() throws -> Tokenizer {
        // GPT-2's letters for bytes: the printable ones stand for themselves
        var vocabulary = JSON.Object()
        var next: UInt32 = 256
        for byte in UInt32(0)..<256 {
            let isPlain =
                (33...126).contains(byte) || (161...172).contains(byte)
                || (174...255).contains(byte)
            let letter = try #require(Unicode.Scalar(isPlain ? byte : next))
            next += isPlain ? 0 : 1
            vocabulary[String(Character(letter))] = .int(Int(byte))
        }
        let added: [JSON] = ["<|im_start|>", "<|im_end|>", "<|end|>"].enumerated().map {
            index, text in
            [
                "id": .int(256 + index), "content": .string(text), "single_word": false,
                "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            ]
        }
        let byteLevel: JSON = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]
        var tokenizer = try Tokenizer(
            json: [
                "added_tokens": .array(added), "normalizer": nil, "pre_tokenizer": byteLevel,
                "post_processor": nil, "decoder": byteLevel,
                "model": ["type": "BPE", "vocab": .object(vocabulary), "merges": []],
            ], source: "bytes")
        try tokenizer.apply(configuration: ["eos_token": "<|end|>"], source: "bytes")
        return tokenizer
    }

    static let chatML = """
        {% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] \
        + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
        {% endif %}
        """

    private func template(_ source: String) throws -> ChatTemplate {
        try ChatTemplate(source: source, name: "template", beginningOfText: nil, endOfText: nil)
    }

    /// Reads a data set from a file that is gone afterwards.
    private func read(
        _ text: String, template: ChatTemplate? = nil, maximumLength: Int = 1000
    ) throws -> TrainingData {
        let path = NSTemporaryDirectory() + "training-data-\(UUID().uuidString).jsonl"
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try TrainingData(
            jsonl: path, tokenizer: Self.byteTokenizer(), chatTemplate: template,
            maximumLength: maximumLength)
    }

    private func failure(_ text: String, template: ChatTemplate? = nil) -> LorikeetError? {
        do { _ = try read(text, template: template) } catch { return error as? LorikeetError }
        return nil
    }

    /// The text of a row's targets, with "·" between what is apart.
    private func targets(_ row: TrainingRow) throws -> String {
        #expect(row.labels.count == row.inputIDs.count)
        var parts: [[Int32]] = [[]]
        for (id, label) in zip(row.inputIDs, row.labels) {
            if label == -100 {
                if parts.last != [] { parts.append([]) }
            } else {
                #expect(label == id)
                parts[parts.count - 1].append(id)
            }
        }
        let tokenizer = try Self.byteTokenizer()
        return parts.filter { !$0.isEmpty }.map { tokenizer.decode($0) }.joined(separator: "·")
    }

    private func text(_ row: TrainingRow) throws -> String {
        try Self.byteTokenizer().decode(row.inputIDs)
    }

    // MARK: Shapes

    @Test func `a chat's targets are the assistant's turns with their ends`() throws {
        let row = try read(
            #"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}, "#
                + #"{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye"}, "#
                + #"{"role": "assistant", "content": "👋 日本\n"}]}"#,
            template: template(Self.chatML)
        ).rows[0]
        #expect(
            try text(row)
                == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
                + "Hello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n👋 日本\n<|im_end|>\n"
        )
        #expect(try targets(row) == "Hello!<|im_end|>·👋 日本\n<|im_end|>")
    }

    @Test func `a turn that no special token ends is a target to its last newline`() throws {
        let row = try read(
            #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#,
            template: template(
                "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '\n' }}{% endfor %}"
                    + "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
        ).rows[0]
        #expect(try targets(row) == "b\n")
    }

    @Test func `a template that rewrites earlier turns is refused`() throws {
        let source = "{% for m in messages %}{{ m.content if loop.last else '-' }}{% endfor %}"
        let error = try failure(
            #"{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}"#,
            template: template(source))
        #expect(error?.code == .unsupported)
        #expect(error?.problem.contains("does not write message 1 the same way") == true)
        #expect(error?.subject.hasSuffix(".jsonl, line 1") == true)
    }

    @Test func `a prompt's completion is the target, to the end of text`() throws {
        let row = try read(#"{"prompt": "2+2=", "completion": "4"}"#).rows[0]
        #expect(try text(row) == "2+2=4<|end|>")
        #expect(try targets(row) == "4<|end|>")
        #expect(row.labels.prefix(4) == [-100, -100, -100, -100])
    }

    @Test func `an instruction is a chat where there is a template`() throws {
        let data = try read(
            """
            {"instruction": "Add", "input": "1 2", "output": "3"}
            {"instruction": "Add", "input": "", "output": "0"}
            """, template: template(Self.chatML))
        #expect(
            try text(data.rows[0])
                == "<|im_start|>user\nAdd\n\n1 2<|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n")
        #expect(try targets(data.rows[0]) == "3<|im_end|>")
        #expect(try text(data.rows[1]).hasPrefix("<|im_start|>user\nAdd<|im_end|>"))
    }

    @Test func `an instruction is Alpaca's prompt where there is none`() throws {
        let data = try read(
            """
            {"instruction": "Add", "input": "1 2", "output": "3"}
            {"instruction": "Greet", "output": "Hi"}
            """)
        #expect(
            try text(data.rows[0]).hasSuffix(
                "### Instruction:\nAdd\n\n### Input:\n1 2\n\n### Response:\n3<|end|>"))
        #expect(
            try text(data.rows[1]).hasSuffix("### Instruction:\nGreet\n\n### Response:\nHi<|end|>"))
        #expect(try targets(data.rows[1]) == "Hi<|end|>")
    }

    @Test func `a text is a target whole and ends once`() throws {
        let data = try read(#"{"text": "ab"}"# + "\n" + #"{"text": "ab<|end|>"}"#)
        #expect(data.rows.map(\.inputIDs) == [[97, 98, 258], [97, 98, 258]])
        #expect(data.rows.map(\.labels) == data.rows.map(\.inputIDs))
    }

    @Test func `ids are taken as given`() throws {
        let data = try read(
            """
            {"input_ids": [5, 6, 7]}
            {"input_ids": [5, 6, 7], "labels": [-100, 6, -100]}
            """)
        #expect(data.rows.map(\.inputIDs) == [[5, 6, 7], [5, 6, 7]])
        #expect(data.rows.map(\.labels) == [[5, 6, 7], [-100, 6, -100]])
    }

    // MARK: Lines, lengths, order

    @Test func `blank lines are passed over and line ends may be CRLF`() throws {
        let data = try read("\n{\"text\": \"a\"}\r\n  \r\n\n{\"text\": \"b\"}")
        #expect(data.rows.map(\.inputIDs) == [[97, 258], [98, 258]])
    }

    @Test func `rows are cut at the maximum length, and left out without a target`() throws {
        let data = try read(
            """
            {"prompt": "abc", "completion": "de"}
            {"prompt": "abcdef", "completion": "g"}
            {"input_ids": [1, 2], "labels": [1, -100]}
            {"text": "x"}
            """, maximumLength: 4)
        #expect(data.rows.map(\.inputIDs) == [[97, 98, 99, 100], [120, 258]])
        #expect(data.rows[0].labels == [-100, -100, -100, 100])
        #expect(data.truncatedCount == 1)
        #expect(data.skippedCount == 2)
    }

    // MARK: Bad input

    @Test(arguments: [
        ("{\"text\": \"a\"}\n\n{\"text\": ", "line 3", "not valid JSON"),
        ("{\"text\": \"a\"}\n[1]", "line 2", "a row is a JSON object"),
        ("{\"question\": \"a\", \"answer\": \"b\"}", "line 1", "unknown shape"),
        ("{}", "line 1", "unknown shape"),
        ("{\"text\": 5}", "line 1", "\"text\" is no string"),
        ("{\"prompt\": \"a\", \"completion\": null}", "line 1", "\"completion\" is no string"),
        ("{\"messages\": 5}", "line 1", "\"messages\" is no array"),
        ("{\"messages\": [5]}", "line 1", "a message is no object"),
        ("{\"messages\": [{\"content\": \"a\"}]}", "line 1", "no \"role\""),
        (
            "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "line 1",
            "no chat template"
        ),
        ("{\"input_ids\": [1, 259]}", "line 1", "outside the vocabulary"),
        ("{\"input_ids\": [1, -1]}", "line 1", "outside the vocabulary"),
        ("{\"input_ids\": [1, 99999999999]}", "line 1", "outside the vocabulary"),
        ("{\"input_ids\": [1, 2], \"labels\": [1, -101]}", "line 1", "outside the vocabulary"),
        ("{\"input_ids\": [1, 1.5]}", "line 1", "no integer"),
        ("{\"input_ids\": [1, 2], \"labels\": [1]}", "line 1", "differ in length"),
        ("\n \n", ".jsonl", "the data set is empty"),
        ("", ".jsonl", "the data set is empty"),
        ("{\"input_ids\": [1, 2], \"labels\": [-100, -100]}", ".jsonl", "masked"),
        ("{\"text\": \"\"}", ".jsonl", "masked"),
    ])
    func `bad input names its line`(text: String, place: String, problem: String) throws {
        let error = try #require(failure(text))
        #expect(error.subject.hasSuffix(place), "\(error)")
        #expect(error.problem.contains(problem), "\(error)")
    }

    @Test func `an unknown shape names its keys`() throws {
        let error = failure(#"{"question": "a", "answer": "b"}"#)
        #expect(error?.got == "the keys question, answer")
    }

    @Test func `a template's refusal names the line`() throws {
        let error = try failure(
            "{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}",
            template: template("{{ raise_exception('no chats today') }}"))
        #expect(error?.subject.hasSuffix("line 2") == true)
        #expect(error?.problem.hasSuffix("no chats today") == true)
    }

    @Test func `a missing file is not found`() throws {
        do {
            _ = try TrainingData(
                jsonl: "/nowhere/data.jsonl", tokenizer: Self.byteTokenizer(), chatTemplate: nil,
                maximumLength: 10)
            Issue.record("read a file that is not there")
        } catch let error as LorikeetError {
            #expect(error.code == .notFound)
        }
    }
}
