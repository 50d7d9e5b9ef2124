import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// The three verbs on the default model, as a user runs them; `make models` puts it into models/cache.
@Suite(.enabled(if: Fixtures.quantizedModel != nil, "run make models"), .serialized)
struct WholePathTests {
    private let model = Fixtures.quantizedModel ?? ""
    private let pirate = Fixtures.root.appending(path: "Examples/pirate.jsonl")
        .path(percentEncoded: false)

    private func run(_ arguments: String...) throws -> JSON {
        let outcome = try Program.run(arguments + ["--json"])
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try outcome.json
    }

    private func answer(
        _ adapter: String?, over base: LanguageModel, _ generator: TextGenerator,
        _ registry: AdapterRegistry<any LowRankDeltas>
    ) throws -> [Int32] {
        var request = GenerationRequest(
            prompt: try base.chatPrompt([
                ChatMessage(role: "user", content: "What is the capital of Poland?")
            ]))
        request.maximumTokens = 12
        return try generator.generate(request, adapter: registry.adapter(adapter)).choices.map(
            \.token)
    }

    @Test func `generate reports what it did`() throws {
        // The GGUF is the fp32 model whose greedy answer transformers gave.
        let model = try #require(Fixtures.floatModel)
        let json = try run("generate", "--model", model, "--chat", "What is the capital of France?")
        #expect(json["text"]?.string == "The capital of France is Paris.")
        #expect(json["finish_reason"]?.string == "stop")
        #expect(json["completion_tokens"]?.int == 8)
        #expect((json["prompt_tokens"]?.int ?? 0) == 37)
        for key in ["prefill_tokens_per_second", "decode_tokens_per_second", "peak_memory_bytes"] {
            #expect((json[key]?.double ?? 0) > 0, "\(key)")
        }
    }

    @Test func `a trained adapter changes the answer, as a folder and as a bundle`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let adapter = folder + "/pirate"
            let report = try run(
                "train", "--model", model, "--data", pirate, "--output", adapter, "--steps", "6",
                "--batch-size", "2", "--rank", "4", "--learning-rate", "5e-3", "--method", "reflora"
            )
            #expect((report["last_loss"]?.double ?? 9) < (report["first_loss"]?.double ?? 0))
            for file in [
                "adapter_config.json", "adapter_model.safetensors", "metrics.jsonl",
                "pirate.lorikeet",
            ] {
                #expect(FileManager.default.fileExists(atPath: "\(adapter)/\(file)"), "\(file)")
            }
            let metrics = try String(contentsOfFile: adapter + "/metrics.jsonl", encoding: .utf8)
                .split(separator: "\n").map {
                    try JSON(parsing: String($0), source: "metrics.jsonl")
                }
            #expect(metrics.map { $0["step"]?.int } == [1, 2, 3, 4, 5, 6])

            let bundle = adapter + "/pirate.lorikeet"
            _ = try run("bundle", "verify", bundle, "--model", model)
            _ = try run("bundle", "unpack", bundle, "--output", folder + "/unpacked")
            for file in ["adapter_config.json", "adapter_model.safetensors"] {
                let original = try Data(contentsOf: URL(filePath: "\(adapter)/\(file)"))
                #expect(
                    try Data(contentsOf: URL(filePath: "\(folder)/unpacked/\(file)")) == original)
            }

            try swaps(adapter: adapter, bundle: bundle)
        }
    }

    @Test func `preferences are learned from, with noise and dropout`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let answers = [("Paris.", "Lyon."), ("Arr, Paris!", "Paris."), ("4", "5")]
            let rows = answers.map {
                #"{"prompt": "The capital is ", "chosen": "\#($0)", "rejected": "\#($1)"}"#
            }
            try rows.joined(separator: "\n").write(
                toFile: folder + "/rows.jsonl", atomically: true, encoding: .utf8)
            func train(_ name: String, _ more: String...) throws -> [JSON] {
                let flags = [
                    "train", "--model", model, "--data", folder + "/rows.jsonl", "--output",
                    "\(folder)/\(name)", "--objective", "dpo", "--rank", "4", "--batch-size", "2",
                    "--learning-rate", "1e-3", "--steps", "3", "--lora-dropout", "0.05",
                ]
                let outcome = try Program.run(flags + more + ["--json"])
                #expect(outcome.status == 0, "\(outcome.errors)")
                return try String(
                    contentsOfFile: "\(folder)/\(name)/metrics.jsonl", encoding: .utf8
                )
                .split(separator: "\n").map {
                    try JSON(parsing: String($0), source: "metrics.jsonl")
                }
            }
            let plain = try train("plain")
            // B is zero: dropout before A changes nothing yet.
            #expect(plain[0]["loss"]?.double == log(2))
            #expect((plain[2]["loss"]?.double ?? 9) < log(2))
            let noisy = try train("noisy", "--neftune-alpha", "5", "--label-smoothing", "0.1")
            #expect(noisy[0]["loss"]?.double != log(2))
            let configuration = try JSON(
                contentsOf: folder + "/plain/adapter_config.json")
            #expect(configuration["lora_dropout"]?.double == 0.05)
            _ = try train("again")
            let name = "/adapter_model.safetensors"
            let (first, again) = (
                try Data(contentsOf: URL(filePath: folder + "/plain" + name)),
                try Data(contentsOf: URL(filePath: folder + "/again" + name))
            )
            #expect(first == again)
        }
    }

    /// In one process: outputs equal those of a fresh one after every swap.
    private func swaps(adapter: String, bundle: String) throws {
        func fresh(_ path: String?) throws -> [Int] {
            let outcome = try Program.run(
                [
                    "generate", "--model", model, "--chat", "What is the capital of Poland?",
                    "--max-tokens", "12", "--json",
                ] + (path.map { ["--adapter", $0] } ?? []))
            return try outcome.json["token_ids"]?.array?.compactMap(\.int) ?? []
        }
        let base = try LanguageModel(path: model, compute: Compute())
        let generator = TextGenerator(base)
        let registry = AdapterRegistry(base)
        try registry.load(name: "folder", path: adapter)
        try registry.load(name: "bundle", path: bundle)
        let expected = try [nil: fresh(nil), "folder": fresh(adapter), "bundle": fresh(bundle)]
        #expect(expected[nil] != expected["folder"])
        #expect(expected["folder"] == expected["bundle"])
        for name in [nil, "folder", nil, "bundle", "folder", nil] {
            let tokens = try answer(name, over: base, generator, registry)
            #expect(tokens.map(Int.init) == expected[name], "\(name ?? "base")")
        }
    }

    @Test func `chat loads, lists and swaps adapters`() throws {
        let outcome = try Program.run(
            ["chat", "--model", model, "--max-tokens", "8"],
            input: "/adapters\n/adapter nobody\n/load /nonexistent\nHello\n/reset\n/exit\nnever\n")
        #expect(outcome.status == 0)
        #expect(outcome.errors.contains("* base"))
        #expect(outcome.errors.contains("nobody"))
        #expect(outcome.errors.contains("/nonexistent"))
        #expect(outcome.output.split(separator: "\n").count >= 1)
    }

    @Test func `tokenize and its inverse`() throws {
        let ids =
            try run("tokenize", "--model", model, "Hello, 世界!")["ids"]?.array?.compactMap(\.int)
            ?? []
        let list = ids.map(String.init).joined(separator: ",")
        #expect(
            try run("tokenize", "--model", model, "--ids", list)["text"]?.string == "Hello, 世界!")
    }

    @Test func `malformed data names its line and leaves nothing`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let data = folder + "/data.jsonl"
            for (text, word) in [
                ("{\"text\": \"fine\"}\n{\"text\": ", "line 2"), ("", "data.jsonl"),
                ("{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}", "mask"),
            ] {
                try Data(text.utf8).write(to: URL(filePath: data))
                let outcome = try Program.run([
                    "train", "--model", model, "--data", data, "--output", folder + "/out",
                    "--json",
                ])
                #expect(outcome.status == 1, "\(outcome)")
                #expect(outcome.errors.contains(word), "\(outcome.errors)")
                #expect(
                    try FileManager.default.contentsOfDirectory(atPath: folder) == ["data.jsonl"])
            }
        }
    }
}
