import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// Every decoder from a float checkpoint to an answer with an adapter, as a user goes.
@Suite(.serialized) struct ArchitectureTests {
    static let models = [
        "llama_plain_mha", "mistral_sw8", "qwen2_bias_tied", "qwen3_window", "gemma2", "gemma3",
        "phi3_longrope",
    ]

    private func run(_ arguments: [String]) throws -> JSON {
        let outcome = try Program.run(arguments + ["--json"])
        #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
        return try outcome.json
    }

    /// The text that a server gives for the prompt and the settings of `generate`.
    private func completion(_ model: String, of server: ServedProgram) async throws -> String? {
        let body: JSON = [
            "model": .string(model), "prompt": "abc de", "max_tokens": 30, "temperature": 0,
        ]
        let answer = try await server.post("/v1/completions", body.text()).read() ?? ""
        let content = answer.range(of: "\r\n\r\n").map { String(answer[$0.upperBound...]) } ?? ""
        let json = try JSON(parsing: content, source: "the server")
        return json["choices"]?.array?.first?["text"]?.string
    }

    @Test(.timeLimit(.minutes(10)), arguments: models)
    func `quantize, plan, train, generate and serve`(name: String) async throws {
        try await Fixtures.withTemporaryFolder { folder in
            let files = try SmallRun(in: folder, tiny: name)
            let nf4 = files.path("nf4")
            _ = try run(["quantize", files.model, "--output", nf4])
            let plan = try run(["plan", "--model", nf4, "--data", files.data, "--rank", "4"])
            #expect((plan["peak_memory_bytes"]?.int ?? 0) > 0)
            let report = try run([
                "train", "--model", nf4, "--data", files.data, "--output", files.path("out"),
                "--method", "lora", "--rank", "4", "--batch-size", "4", "--steps", "12",
                "--learning-rate", "2e-2", "--seed", "3", "--threads", "2",
            ])
            let (first, last) = (
                try #require(report["first_loss"]?.double),
                try #require(report["last_loss"]?.double)
            )
            #expect(last < first - 0.3, "\(first) to \(last)")
            // All linear layers, under their own names.
            let adapter = try JSON(contentsOf: files.path("out/adapter_config.json"))
            let modules = try ModelConfiguration(Checkpoints.open(nf4)).modules
            #expect(
                adapter["target_modules"]?.array?.compactMap(\.string) == modules.all.map(\.name))
            let generate = ["generate", "--model", nf4, "--prompt", "abc de", "--max-tokens", "30"]
            let base = try run(generate + ["--temperature", "0"])
            let adapted = try run(
                generate + ["--temperature", "0", "--adapter", files.path("out/out.lorikeet")])
            #expect(adapted["text"]?.string?.isEmpty == false)
            #expect(adapted["text"] != base["text"])
            let server = try await ServedProgram([
                "--model", nf4, "--adapter", "adapted=" + files.path("out"),
            ])
            defer { server.running.send(SIGTERM) }
            #expect(try await completion("nf4", of: server) == base["text"]?.string)
            #expect(try await completion("adapted", of: server) == adapted["text"]?.string)
        }
    }

    @Test func `a layer that the model does not have is refused, naming those it has`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let files = try SmallRun(in: folder, tiny: "phi3_longrope")
            for command in ["train", "plan"] {
                let outcome = try Program.run(
                    [command, "--model", files.model, "--data", files.data]
                        + ["--target-modules", "q_proj,o_proj"]
                        + (command == "train" ? ["--output", files.path("out")] : []))
                #expect(outcome.status == 1)
                for word in ["--target-modules", "q_proj", "qkv_proj", "gate_up_proj"] {
                    #expect(outcome.errors.contains(word), "\(outcome.errors)")
                }
            }
        }
    }
}
