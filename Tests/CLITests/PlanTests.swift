import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet plan`, and `train --max-memory`.
@Suite struct PlanTests {
    private static let tiny = Fixtures.root.appending(
        path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
    ).path(percentEncoded: false)

    private func plan(_ arguments: String...) throws -> Program.Outcome {
        try Program.run(["plan", "--model", Self.tiny, "--threads", "2"] + arguments)
    }

    @Test func `a plan names every part, and they add up`() throws {
        let outcome = try plan("--max-length", "128", "--batch-size", "4", "--json")
        #expect(outcome.status == 0, "\(outcome)")
        let json = try outcome.json
        let parts = try #require(json["parts"]?.object).values.compactMap(\.int)
        #expect(parts.reduce(0, +) == json["peak_memory_bytes"]?.int)
        for part in [
            "weights", "factors", "gradients", "moments", "activations", "logits", "attention",
            "scratch", "low_rank", "program",
        ] { #expect(json["parts"]?[part]?.int != nil, "\(part)") }
        #expect(json["longest_row"]?.int == 128)
        let text = try plan("--max-length", "128").output
        #expect(text.contains("activations") && text.contains("peak"))
    }

    @Test func `a limit changes the passes, and what cannot fit is refused`() throws {
        func peak(_ arguments: String...) throws -> JSON {
            try Program.run(
                ["plan", "--model", Self.tiny, "--threads", "2", "--json"] + arguments
            ).json
        }
        let whole = try peak("--batch-size", "16")
        let bytes = try #require(whole["peak_memory_bytes"]?.int)
        let limited = try peak("--batch-size", "16", "--max-memory", "\(bytes - 1_000_000)")
        #expect((limited["peak_memory_bytes"]?.int ?? .max) <= bytes - 1_000_000)
        let (batch, passes) = (limited["batch_size"]?.int ?? 0, limited["accumulate"]?.int ?? 0)
        #expect(batch * passes == 16)
        let refused = try plan("--max-memory", "2M")
        #expect(refused.status == 1 && refused.output.isEmpty, "\(refused)")
        #expect(refused.errors.contains("--max-memory") && refused.errors.contains("at least"))
        #expect(try plan("--max-memory", "lots").status == 64)
        #expect(try plan("--precision", "int8").status == 64)
    }
}

/// The same with the default model, which has a tokenizer.
@Suite(.enabled(if: Fixtures.quantizedModel != nil, "run make models"), .serialized)
struct MaximumMemoryTests {
    private let model = Fixtures.quantizedModel ?? ""

    private func train(_ folder: String, _ arguments: String...) throws -> Program.Outcome {
        let row = "{\"input_ids\": [\((1...60).map(String.init).joined(separator: ","))]}\n"
        let data = folder + "/data.jsonl"
        try Data(String(repeating: row, count: 8).utf8).write(to: URL(filePath: data))
        return try Program.run(
            [
                "train", "--model", model, "--data", data, "--output", folder + "/out", "--steps",
                "2", "--json", "--force",
            ] + arguments)
    }

    @Test func `a run stays within its limit, takes the same rows, and reports both peaks`() throws
    {
        try Fixtures.withTemporaryFolder { folder in
            let whole = try train(folder, "--batch-size", "8").json
            let predicted = try #require(whole["predicted_peak_memory_bytes"]?.int)
            let actual = try #require(whole["peak_memory_bytes"]?.int)
            // The aim; the test's rows are short, so that the program and the weights are most of it.
            #expect(abs(Double(predicted) / Double(actual) - 1) < 0.1)
            let limit = predicted - 15_000_000
            let outcome = try train(folder, "--batch-size", "8", "--max-memory", "\(limit)")
            let limited = try outcome.json
            #expect((limited["predicted_peak_memory_bytes"]?.int ?? .max) <= limit)
            #expect(outcome.errors.contains("--batch-size"))
            #expect(limited["tokens"] == whole["tokens"])
            let losses = try [whole, limited].map { try #require($0["last_loss"]?.double) }
            // Passes of fewer rows take other kernels for few rows, and sum in another order.
            #expect(abs(losses[0] / losses[1] - 1) < 1e-3)
        }
    }

    @Test func `what cannot fit is refused before anything is written`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let outcome = try train(folder, "--max-memory", "100M")
            #expect(outcome.status == 1)
            #expect(
                outcome.errors.contains("at least") && outcome.errors.contains("weights"),
                "\(outcome.errors)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["data.jsonl"])
        }
    }
}
