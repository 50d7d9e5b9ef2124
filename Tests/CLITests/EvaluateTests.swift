import Foundation
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct EvaluateTests {
    private static let rows = """
        {"instruction": "Is it? true/false", "output": "the correct answer is true", "answer": "true"}
        {"instruction": "Is he? true/false", "output": "the correct answer is false", "answer": "false"}
        {"instruction": "Are they? true/false", "output": "the correct answer is true", "answer": "true"}
        """

    /// Runs `body` with a tiny model's folder and two tasks beside it.
    private func inFolder(_ body: (_ folder: String) throws -> Void) throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model")
            for task in ["a", "b"] {
                try Data(Self.rows.utf8).write(to: URL(filePath: "\(folder)/\(task).jsonl"))
            }
            try body(folder)
        }
    }

    private func evaluate(_ folder: String, _ arguments: String...) throws -> Program.Outcome {
        try Program.run(
            [
                "evaluate", "--model", folder + "/model", "--task", folder + "/a.jsonl", "--task",
                folder + "/b.jsonl",
            ] + arguments)
    }

    @Test(arguments: ["likelihood", "generation", "exact", "perplexity"])
    func `figures of each task, as a table and as JSON`(measure: String) throws {
        try inFolder { folder in
            let outcome = try evaluate(folder, "--by", measure, "--limit", "2", "--json")
            #expect(outcome.status == 0, "\(outcome)")
            let tasks = try #require(try outcome.json["tasks"]?.array)
            #expect(tasks.map { $0["task"]?.string } == ["a", "b"])
            for task in tasks {
                #expect(task["rows"]?.int == 2)
                #expect(task["measure"]?.string == measure)
                let figure = try #require(
                    task[measure == "perplexity" ? "perplexity" : "accuracy"]?.double)
                #expect(figure >= 0)
            }
            #expect(try outcome.json["stopped"]?.bool == false)
            let table = try evaluate(folder, "--by", measure, "--limit", "2")
            #expect(table.output.split(separator: "\n").count == (measure == "perplexity" ? 3 : 4))
            #expect(table.output.contains(measure))
        }
    }

    @Test func `predictions are a line a row, written once`() throws {
        try inFolder { folder in
            let path = folder + "/predictions.jsonl"
            let outcome = try evaluate(folder, "--by", "likelihood", "--predictions", path)
            #expect(outcome.status == 0, "\(outcome)")
            let lines = try String(contentsOfFile: path, encoding: .utf8)
                .split(separator: "\n").map { try JSON(parsing: String($0), source: path) }
            #expect(lines.map { $0["line"]?.int } == [1, 2, 3, 1, 2, 3])
            #expect(lines.map { $0["task"]?.string } == ["a", "a", "a", "b", "b", "b"])
            #expect(lines.allSatisfy { $0["log_likelihoods"]?.array?.count == 2 })
            let again = try evaluate(folder, "--predictions", path)
            #expect(again.status == 1)
            #expect(again.errors.contains("--force"))
            #expect(again.output.isEmpty)
        }
    }

    @Test func `a mistake in the last file shows before any work`() throws {
        try inFolder { folder in
            try Data((Self.rows + "\n{}").utf8).write(to: URL(filePath: folder + "/b.jsonl"))
            let outcome = try evaluate(folder, "--predictions", folder + "/p.jsonl")
            #expect(outcome.status == 1)
            #expect(outcome.output.isEmpty)
            #expect(outcome.errors.contains("b.jsonl, line 4"), "\(outcome.errors)")
            #expect(!FileManager.default.fileExists(atPath: folder + "/p.jsonl"))
        }
    }
}
