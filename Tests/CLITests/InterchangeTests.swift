import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Export and merge as a user runs them, over a small model with an adapter that a short run trained.
@Suite struct InterchangeTests {
    private func withAdapter(
        _ body: (SmallRun, _ adapter: String) throws -> Void
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let outcome = try Program.run([
                "train", "--model", run.model, "--data", run.data, "--output", run.path("adapter"),
                "--rank", "2", "--batch-size", "2", "--steps", "20", "--learning-rate", "1e-2",
                "--threads", "1",
            ])
            #expect(outcome.status == 0, "\(outcome)")
            try body(run, run.path("adapter"))
        }
    }

    @Test(arguments: [
        ["export", "--format", "peft", "--output", "y"],
        ["export", "--format", "gguf", "--output", "y"],
        ["export", "--format", "gguf-lora", "--adapter", "x", "--output", "y"],
        ["export", "--format", "onnx", "--model", "x", "--output", "y"],
        ["export", "--format", "peft", "--adapter", "x", "--dtype", "fp16", "--output", "y"],
        ["merge", "--model", "x", "--output", "y"],
        ["merge", "--model", "x", "--adapter", "x", "--output", "y", "--as", "int3"],
        ["merge", "--model", "x", "--adapter", "x", "--output", "y", "--probe-tokens", "-1"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) throws {
        #expect(try Program.run(arguments).status == 64)
    }

    @Test func `each format is written and read again`() throws {
        try withAdapter { run, adapter in
            func export(_ format: String, _ name: String, _ more: String...) throws -> JSON {
                let outcome = try Program.run(
                    ["export", "--format", format, "--output", run.path(name), "--json"] + more)
                #expect(outcome.status == 0, "\(outcome)")
                return try outcome.json
            }
            let bundle = adapter + "/adapter.lorikeet"
            let peft = try export("peft", "peft", "--adapter", bundle)
            #expect(peft["modules"]?.int == 14)
            #expect(
                try run.contents("peft/adapter_model.safetensors")
                    == run.contents("adapter/adapter_model.safetensors"))
            _ = try export("gguf-lora", "a.gguf", "--adapter", bundle, "--model", run.model)
            #expect(try GGUFFile(path: run.path("a.gguf")).tensors.count == 28)

            // The model with the adapter merged answers as the two together, by either format.
            func logits(_ model: String, _ more: String...) throws -> [Float] {
                let output = run.path("logits.safetensors")
                let outcome = try Program.run(
                    [
                        "logits", "--model", model, "--tokens", "3,4,5,6", "--output", output,
                        "--force",
                    ] + more)
                #expect(outcome.status == 0, "\(outcome)")
                let tensor = try #require(SafetensorsFile(path: output).tensors.first)
                let values = Buffer<Float>(tensor.count)
                try tensor.floats(into: values.pointer, path: output)
                return values.array
            }
            let expected = try logits(run.model, "--adapter", adapter)
            for (format, name) in [("gguf", "m.gguf"), ("safetensors", "folder")] {
                let report = try export(
                    format, name, "--model", run.model, "--adapter", adapter, "--dtype", "fp32")
                #expect(report["type"]?.string == "F32")
                // Logits of about 20, through two blocks of fp32 sums in another order.
                for (ours, theirs) in zip(try logits(run.path(name)), expected) {
                    #expect(abs(ours - theirs) < 1e-3)
                }
            }
        }
    }

    @Test func `a merge reports what is left, and one that erases is refused`() throws {
        try withAdapter { run, adapter in
            let merged = try Program.run([
                "merge", "--model", run.model, "--adapter", adapter, "--output", run.path("bf16"),
                "--json",
            ])
            #expect(merged.status == 0, "\(merged)")
            let report = try merged.json
            #expect((report["surviving_share"]?.double ?? 0) > 0.9)
            #expect(report["layers"]?.array?.count == 14)
            let divergence = try #require(report["merged"]?["kl_divergence"]?.double)
            let unadapted = try #require(report["base"]?["kl_divergence"]?.double)
            #expect(divergence >= 0 && divergence < unadapted)

            let nf4 = run.path("nf4")
            let quantized = try Program.run(["quantize", run.model, "--output", nf4])
            #expect(quantized.status == 0, "\(quantized)")
            // A thousandth of the adapter is lost between the steps of NF4.
            var configuration = try JSON(contentsOf: adapter + "/adapter_config.json")
            configuration["lora_alpha"] = .double(
                (configuration["lora_alpha"]?.double ?? 0) / 1000)
            try configuration.data().write(
                to: URL(filePath: adapter + "/adapter_config.json"))
            let arguments = [
                "merge", "--model", nf4, "--adapter", adapter, "--output", run.path("again"),
                "--as", "nf4",
            ]
            let refused = try Program.run(arguments)
            #expect(refused.status == 1, "\(refused)")
            #expect(refused.errors.contains("erases the adapter"))
            #expect(refused.output.contains("q_proj"))
            #expect(!run.exists("again"))
            let forced = try Program.run(arguments + ["--force", "--text", run.data])
            #expect(forced.status == 0, "\(forced)")
            #expect(forced.output.contains("KL divergence"))
            #expect(try HuggingFaceFolder(path: run.path("again")).isQuantized)
        }
    }
}
