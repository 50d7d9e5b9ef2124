import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// What bad input gets: one paragraph, exit code 1 (64 for wrong usage), nothing half-written.
@Suite struct BadInputTests {
    private static let tiny = Fixtures.root.appending(
        path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
    ).path(percentEncoded: false)

    /// Expects exit code 1, an error that names each of `words`, and a silent standard output.
    private func expectRefusal(
        _ outcome: Program.Outcome, naming words: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(outcome.status == 1, "\(outcome)", sourceLocation: sourceLocation)
        #expect(outcome.output.isEmpty, "\(outcome.output)", sourceLocation: sourceLocation)
        for word in words {
            #expect(
                outcome.errors.contains(word), "\(outcome.errors)", sourceLocation: sourceLocation)
        }
    }

    private func copyTiny(to folder: String) throws -> String {
        let model = folder + "/model"
        try FileManager.default.copyItem(atPath: Self.tiny, toPath: model)
        return model
    }

    private func edit(_ path: String, _ change: (inout JSON) -> Void) throws {
        var json = try JSON(contentsOf: path)
        change(&json)
        try json.data().write(to: URL(filePath: path))
    }

    @Test(arguments: [
        ["quantize"], ["quantize", "x", "--output", "y", "--block-size", "63"], ["nonsense"],
        ["generate", "--model", "x"], ["generate", "--model", "x", "--prompt", "a", "--chat", "b"],
        ["generate", "--model", "x", "--prompt", "a", "--top-p", "2"],
        ["perplexity", "--model", "x", "--text", "y", "--context", "1"],
        ["inspect", "x", "--threads", "0"],
        ["train", "--model", "x", "--data", "y", "--output", "z", "--epochs", "1", "--steps", "1"],
        ["logits", "--model", "x", "--tokens", "1,two", "--output", "y"],
        ["evaluate", "--model", "x"], ["evaluate", "--model", "x", "--task", "y", "--by", "luck"],
        ["evaluate", "--model", "x", "--task", "y", "--limit", "0"],
    ])
    func `wrong usage exits with 64`(arguments: [String]) throws {
        let outcome = try Program.run(arguments)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(outcome.output.isEmpty)
    }

    @Test func `an instruction set that the machine lacks is wrong usage`() throws {
        let outcome = try Program.run(
            ["inspect", Self.tiny], limits: "export LORIKEET_ISA=sse9")
        #expect(outcome.status == 64)
        #expect(outcome.errors.contains("sse9"))
    }

    @Test func `what does not exist is named`() throws {
        for command in [
            ["inspect", "/nonexistent/x"], ["quantize", "/nonexistent/x", "--output", "/tmp/y"],
        ] {
            expectRefusal(try Program.run(command), naming: "/nonexistent/x")
        }
    }

    @Test func `an unknown architecture is named`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try copyTiny(to: folder)
            try edit(model + "/config.json") {
                $0["architectures"] = ["MambaForCausalLM"]
                $0["model_type"] = "mamba"
            }
            let outcome = try Program.run(
                ["logits", "--model", model, "--tokens", "1", "--output", folder + "/x"])
            expectRefusal(outcome, naming: "config.json", "amba")
            #expect(!FileManager.default.fileExists(atPath: folder + "/x"))
        }
    }

    @Test func `a truncated checkpoint is refused and nothing is written`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let model = try copyTiny(to: folder)
            let path = model + "/model.safetensors"
            let data = try Data(contentsOf: URL(filePath: path))
            for count in [0, 7, 8, 100, data.count / 2, data.count - 1] {
                try data.prefix(count).write(to: URL(filePath: path))
                let outcome = try Program.run(["quantize", model, "--output", folder + "/out"])
                expectRefusal(outcome, naming: "model.safetensors")
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["model"])
            }
        }
    }

    @Test func `an output that exists needs --force`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let output = folder + "/out"
            let arguments = ["quantize", Self.tiny, "--output", output, "--json"]
            let first = try Program.run(arguments)
            #expect(first.status == 0, "\(first)")
            let before = try Data(contentsOf: URL(filePath: output + "/config.json"))
            expectRefusal(try Program.run(arguments), naming: output, "--force")
            #expect(try Data(contentsOf: URL(filePath: output + "/config.json")) == before)
            #expect(try Program.run(arguments + ["--force"]).status == 0)
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["out"])
        }
    }

    @Test func `a full disk leaves nothing behind`() throws {
        try Fixtures.withTemporaryFolder { folder in
            // A limit on the file's size fails in write() as a full disk does; the signal is ignored.
            let outcome = try Program.run(
                ["quantize", Self.tiny, "--output", folder + "/out"],
                limits: "trap '' XFSZ; ulimit -f 16")
            expectRefusal(outcome, naming: "cannot write")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }

    @Test func `tokens outside the vocabulary are refused`() throws {
        try Fixtures.withTemporaryFolder { folder in
            for tokens in ["999999", "0,-1"] {
                let outcome = try Program.run([
                    "logits", "--model", Self.tiny, "--tokens=\(tokens)", "--output", folder + "/x",
                ])
                expectRefusal(outcome, naming: "vocabulary")
            }
        }
    }
}
