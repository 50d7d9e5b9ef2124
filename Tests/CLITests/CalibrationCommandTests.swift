import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// `quantize --calibrate`, `--recover` and `quality`, as a user runs them.
@Suite(.serialized) struct CalibrationCommandTests {
    private func run(_ arguments: [String]) throws -> JSON {
        let outcome = try Program.run(arguments + ["--json"])
        #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
        return try outcome.json
    }

    @Test(arguments: [[], ["--quality", "scales"], ["--quality", "gptq"]])
    func `calibrated, measured and recovered`(quality: [String]) throws {
        try Fixtures.withTemporaryFolder { folder in
            let files = try SmallRun(in: folder)
            try files.writeRows(60, to: files.path("text.jsonl"))
            let nf4 = files.path("nf4")
            let report = try run(
                [
                    "quantize", files.model, "--output", nf4, "--calibrate",
                    files.path("text.jsonl"), "--calibration-windows", "8",
                    "--calibration-context", "32", "--recover", "--recover-rank", "4",
                    "--recover-epochs", "20", "--recover-learning-rate", "2e-3",
                ] + quality)
            #expect(report["calibration"]?["quality"]?.string == quality.last ?? "gptq")
            #expect(report["calibration"]?["layers"]?.array?.count == 14)
            #expect(report["calibration"]?["windows"]?.int == 8)
            #expect(
                try JSON(contentsOf: nf4 + "/calibration.json")["layers"]
                    == report["calibration"]?["layers"])
            let recovery = try #require(report["recovery"])
            #expect(recovery["steps"]?.int == 40)
            #expect(
                try #require(recovery["last_divergence"]?.double)
                    < #require(recovery["first_divergence"]?.double))

            let measure = [
                "quality", "--model", nf4, "--reference", files.model, "--text",
                files.path("text.jsonl"), "--context", "32",
            ]
            let base = try run(measure)
            #expect(try #require(base["kl_divergence"]?.double) > 0)
            #expect((0...1).contains(try #require(base["agreement"]?.double)))
            #expect(base["tokens"]?.int == 31 * (base["windows"]?.int ?? 0))
            let recovered = try run(measure + ["--adapter", nf4 + "/recovery"])
            #expect(
                try #require(recovered["kl_divergence"]?.double)
                    < #require(base["kl_divergence"]?.double))
            let perplexity = try run([
                "perplexity", "--model", nf4, "--text", files.path("text.jsonl"), "--context", "32",
                "--precision", "fp32",
            ])
            // One by way of all logits, one by way of the targets' alone: sums in another order.
            #expect(
                abs(
                    try #require(perplexity["perplexity"]?.double)
                        / #require(base["perplexity"]?.double) - 1) < 1e-4)
        }
    }

    @Test func `a model compared with itself has lost nothing`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let files = try SmallRun(in: folder)
            let json = try run([
                "quality", "--model", files.model, "--reference", files.model, "--text", files.data,
                "--context", "16",
            ])
            #expect(json["kl_divergence"]?.double == 0)
            #expect(json["agreement"]?.double == 1)
            #expect(json["perplexity"] == json["reference_perplexity"])
        }
    }

    @Test(arguments: [
        ["--quality", "gptq"], ["--recover"], ["--calibrate", "x", "--quality", "fast"],
        ["--calibrate", "x", "--quality", "best"],
        ["--calibrate", "x", "--calibration-context", "1"],
        ["--calibrate", "x", "--calibration-windows", "0"],
        ["--calibrate", "x", "--recover", "--recover-rank", "0"],
        ["--calibrate", "x", "--recover", "--recover-learning-rate", "-1"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) throws {
        let outcome = try Program.run(["quantize", "x", "--output", "y"] + arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.output.isEmpty)
    }

    @Test func `bad texts and models are refused by name, and nothing is written`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let files = try SmallRun(in: folder)
            let encoder = Fixtures.root.appending(
                path: "Tests/RuntimeTests/Resources/tiny/bert_cls"
            ).path(percentEncoded: false)
            try Data().write(to: URL(filePath: files.path("empty.txt")))
            try Data("{\"text\": \n".utf8).write(to: URL(filePath: files.path("bad.jsonl")))
            let before = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
            for (model, text, word) in [
                (files.model, "/nonexistent/text", "/nonexistent/text"),
                (files.model, files.path("empty.txt"), "empty.txt"),
                (files.model, files.path("bad.jsonl"), "bad.jsonl"),
                (files.model, files.folder, files.folder), (encoder, files.data, "bert_cls"),
            ] {
                let outcome = try Program.run([
                    "quantize", model, "--output", files.path("out"), "--calibrate", text,
                ])
                #expect(outcome.status == 1, "\(outcome)")
                #expect(outcome.errors.contains(word), "\(outcome.errors)")
                #expect(
                    try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == before)
            }
            let outcome = try Program.run([
                "quality", "--model", files.model, "--reference", folder + "/none", "--text",
                files.data,
            ])
            #expect(outcome.status == 1 && outcome.errors.contains("none"))
        }
    }

    @Test(.enabled(if: Fixtures.floatModel != nil, "run make models"), .timeLimit(.minutes(5)))
    func `Ctrl-C ends the work and leaves nothing behind`() throws {
        let model = try #require(Fixtures.floatModel)
        try Fixtures.withTemporaryFolder { folder in
            let running = try Program.start([
                "quantize", model, "--output", folder + "/out", "--calibrate", "default",
                "--threads", "1",
            ])
            // The work's own folder shows that it has begun; it takes minutes.
            while running.isRunning,
                try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty
            { Thread.sleep(forTimeInterval: 0.05) }
            running.send(SIGINT)
            let outcome = running.outcome()
            #expect(outcome.status == 130, "\(outcome)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }
}
