import Foundation
import LorikeetRuntime
import TestSupport
import Testing

@Suite(.enabled(if: Fixtures.quantizedModel != nil))
struct DataCommandTests {
    private func check(_ text: String, _ flags: String...) throws -> Program.Outcome {
        let model = try #require(Fixtures.quantizedModel)
        return try Fixtures.withTemporaryFolder { folder in
            try Data(text.utf8).write(to: URL(filePath: folder + "/rows.jsonl"))
            return try Program.run(
                ["data", "check", folder + "/rows.jsonl", "--model", model] + flags)
        }
    }

    private static let chat =
        #"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]}"#

    @Test func `data check shows what is trained on`() throws {
        let outcome = try check(Self.chat)
        #expect(outcome.status == 0 && outcome.errors == "")
        #expect(outcome.output.hasPrefix("data: 1 rows, "))
        #expect(outcome.output.contains("<|im_start|>assistant\n⟦Yo<|im_end|>⟧\n"))
    }

    @Test func `data check's object has tokens, labels and text`() throws {
        let json = try check(Self.chat, "--json").json
        let row = try #require(json["rows"]?.array?.first)
        let ids = try #require(row["input_ids"]?.array)
        #expect(row["labels"]?.array?.count == ids.count)
        #expect(row["tokens"]?.array?.count == ids.count)
        #expect(row["text"]?.string?.hasSuffix("Yo<|im_end|>\n") == true)
        #expect(json["training"]?["tokens"]?.int == ids.count)
        #expect(json["error_count"]?.int == 0)
    }

    @Test func `data check names bad lines and fails`() throws {
        let outcome = try check("{\n" + Self.chat + "\n[1]\n\n{\"a\": 1}", "--rows", "0")
        #expect(outcome.status == 1)
        for line in [1, 3, 5] { #expect(outcome.errors.contains("line \(line): ")) }
        #expect(!outcome.errors.contains("line 2"))
        #expect(outcome.output.hasPrefix("data: 1 rows, "))
    }

    @Test func `a run says what it learns from before its first step`() throws {
        let model = try #require(Fixtures.quantizedModel)
        try Fixtures.withTemporaryFolder { folder in
            let text = (0..<12).map { "{\"text\": \"row number \($0)\"}\n" }.joined()
            try Data(text.utf8).write(to: URL(filePath: folder + "/rows.jsonl"))
            let outcome = try Program.run([
                "train", "--model", model, "--data", folder + "/rows.jsonl", "--output",
                folder + "/out", "--epochs", "1", "--rank", "1", "--target-modules", "q_proj",
                "--packing", "--batch-size", "1", "--max-length", "16", "--validation-split",
                "0.25",
                "--json",
            ])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let data = try #require(try outcome.json["data"])
            #expect(data["training"]?["rows"]?.int == 9 && data["validation"]?["rows"]?.int == 3)
            let packs = try #require(data["steps"]?["packs"]?.int)
            #expect(packs < 9 && data["steps"]?["total"]?.int == packs)
            #expect(try outcome.json["tokens"]?.int == data["training"]?["tokens"]?.int)
            #expect(outcome.errors.hasPrefix("data: 9 rows, "))
        }
    }
}
