import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `lorikeet compare`, and what train shows of a run, on a tiny model.
@Suite struct CompareTests {
    private func withModel(_ body: (String, [String]) throws -> Void) throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = folder + "/model"
            try TinyLanguageModel.write(to: model)
            let data = folder + "/rows.jsonl"
            try Data(TinyLanguageModel.rows(9).utf8).write(to: URL(filePath: data))
            try body(
                folder,
                [
                    "--model", model, "--data", data, "--steps", "4", "--batch-size", "2",
                    "--rank", "2", "--threads", "2", "--json",
                ])
        }
    }

    private func names(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    }

    @Test func `compares, goes on with more, and says what is left`() throws {
        try withModel { folder, shared in
            let output = folder + "/out"
            let arguments =
                ["compare", "--output", output, "--seeds", "2", "--learning-rates", "1e-3, 1e-2"]
                + shared
            let plan = try Program.run(arguments + ["--methods", "lora,reflora", "--dry-run"])
            #expect(plan.status == 0, "\(plan.errors)")
            #expect(try plan.json["left"]?.int == 8)
            #expect(try plan.json["seconds_left"] == .null)
            #expect(!FileManager.default.fileExists(atPath: output))

            let scored = ["--validation", folder + "/rows.jsonl"]
            let first = try Program.run(arguments + scored + ["--methods", "lora"])
            #expect(first.status == 0, "\(first.errors)")
            let left = try Program.run(arguments + ["--methods", "lora,reflora", "--dry-run"])
            #expect(try left.json["left"]?.int == 4)
            #expect(try (left.json["seconds_left"]?.double ?? 0) > 0)

            let both = try Program.run(arguments + scored + ["--methods", "lora,reflora"])
            #expect(both.status == 0, "\(both.errors)")
            let methods = try #require(both.json["methods"]?.array)
            #expect(methods.map { $0["method"]?.string } == ["lora", "reflora"])
            let rate = try #require(methods[1]["learning_rates"]?.array?[1])
            #expect((rate["final_loss"]?["mean"]?.double ?? 0) > 0)
            #expect((rate["scores"]?["validation loss"]?["mean"]?.double ?? 0) > 0)
            #expect((rate["peak_memory_bytes"]?["mean"]?.double ?? 0) > 1e6)
            #expect(
                try names(output) == [
                    "comparison.json", "lora", "reflora", "report.html", "report.json",
                ])
            #expect(
                try names(output + "/lora/lr-0.001/seed-1") == [
                    "adapter_config.json", "adapter_model.safetensors", "metrics.jsonl",
                    "report.html", "result.json", "seed-1.lorikeet",
                ])
            #expect(try JSON(contentsOf: output + "/report.json") == both.json)
        }
    }

    @Test func `wrong usage names the flag`() throws {
        let given = ["compare", "--model", "m", "--data", "d", "--output", "o", "--methods"]
        for (words, flag) in [
            (["lora,lara"], "lara"), (["lora", "--method", "lora"], "--methods"),
            (["lora", "--learning-rate", "1"], "--learning-rates"),
            (["lora", "--learning-rates", "1,x"], "x"), (["lora", "--precision", "int8"], "int8"),
            (["lora", "--save-every", "0"], "--save-every"),
        ] {
            let outcome = try Program.run(given + words)
            #expect(outcome.status == 64, "\(outcome)")
            #expect(outcome.errors.contains(flag), "\(outcome.errors)")
        }
        let twice = try Program.run(given + ["lora,lora"])
        #expect(twice.status == 1 && twice.errors.contains("--methods"))
    }

    @Test func `train leaves a page of its curves and events for TensorBoard`() throws {
        try withModel { folder, shared in
            let events = folder + "/events/run"
            let train = ["train"] + shared + ["--tensorboard", events]
            let outcome = try Program.run(train + ["--output", folder + "/a"])
            #expect(outcome.status == 0, "\(outcome.errors)")
            let page = try String(contentsOfFile: folder + "/a/report.html", encoding: .utf8)
            for text in ["Training loss", "Gradient norm", "--batch-size", "Peak memory"] {
                #expect(page.contains(text), "\(text)")
            }
            #expect(try names(events).count == 1)
            let without = try Program.run(train + ["--output", folder + "/b", "--no-report"])
            #expect(without.status == 0)
            #expect(!FileManager.default.fileExists(atPath: folder + "/b/report.html"))
            // Neither changes what is trained.
            #expect(
                try Data(contentsOf: URL(filePath: folder + "/a/adapter_model.safetensors"))
                    == Data(contentsOf: URL(filePath: folder + "/b/adapter_model.safetensors")))
        }
    }
}
