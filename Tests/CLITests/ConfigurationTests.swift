import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// Flags from a file, the file that a run leaves, and runs that only look.
@Suite struct ConfigurationTests {
    private func write(_ text: String, to path: String) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: path))
        return path
    }

    private func finish(
        _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Program.Outcome {
        let outcome = try Program.run(arguments)
        #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
        return outcome
    }

    /// `key: value` lines, without comments.
    private func lines(_ data: Data) -> [String: String] {
        var lines: [String: String] = [:]
        for line in String(decoding: data, as: UTF8.self).split(separator: "\n")
        where !line.hasPrefix("#") {
            let parts = line.split(separator: ": ", maxSplits: 1).map(String.init)
            lines[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        return lines
    }

    /// The flags of `train`, as the parser describes them.
    private func flags() throws -> [JSON] {
        let help = try Program.run(["--experimental-dump-help"]).json
        let train = help["command"]?["subcommands"]?.array?.first {
            $0["commandName"]?.string == "train"
        }
        return train?["arguments"]?.array ?? []
    }

    private func name(_ flag: JSON) -> String? {
        flag["names"]?.array?.first { $0["kind"]?.string == "long" }?["name"]?.string
    }

    // MARK: Reading

    @Test func `a file of flags gives the same run as the flags`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            _ = try finish(run.arguments("flags", "--steps", "5", "--no-shuffle"))
            let file = try write(
                """
                # A comment, a list for commas, either spelling.
                model: \(run.model)
                data: "\(run.data)"
                output: \(run.path("file"))
                rank: 2
                batch_size: 2
                steps: 5
                learning-rate: 1e-3
                seed: 3
                reflora-warmup: 5
                no-shuffle: true
                gradient-checkpointing: false
                alpha: ~
                target-modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
                threads: 1

                """, to: folder + "/run.yaml")
            _ = try finish(["train", "--config", file])
            #expect(try run.factors("file") == run.factors("flags"))
            // Those of the command line come first, whatever the order.
            for arguments in [
                ["--config", file, "--rank", "4"], ["--rank=4", "--config=\(file)"],
            ] {
                let outcome = try finish(["train", "--force", "--json"] + arguments)
                #expect(try outcome.json["steps"] == .int(5))
                #expect(try lines(run.contents("file/run.yaml"))["rank"] == "4")
            }
        }
    }

    @Test(arguments: [
        ("rnak: 4", ["line 2", "rnak", "Is it rank?"]), ("batchsize: 4", ["batch-size"]),
        ("config: x.yaml", ["unknown key config"]), ("help: true", ["unknown key help"]),
        ("rank:\n  of: 4", ["line 2", "rank"]), ("rank: [[4]]", ["line 2", "rank"]),
        ("no-shuffle: 3", ["line 2", "true or false"]), ("no-shuffle: []", ["true or false"]),
        ("rank: 4\nrank: 8", ["rank"]), ("batch-size: 4\nbatch_size: 8", ["line 3", "batch-size"]),
        ("? [rank, seed]\n: 4", ["line 2"]), ("? {rank: 4}\n: 4", ["line 2"]),
        ("rank: &a 4\nseed: *a", ["line 3", "alias"]), ("rank: \"4", ["YAML"]),
        ("rank: 4\n---\nrank: 8", ["YAML"]), ("rank: {", ["YAML"]), ("rank: \u{1}", ["YAML"]),
    ])
    func `a file that is no list of flags is refused, naming the line`(
        text: String, words: [String]
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let file = try write("seed: 1\n" + text + "\n", to: folder + "/run.yaml")
            let outcome = try Program.run(["train", "--config", file])
            #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
            for word in words + ["run.yaml"] {
                #expect(outcome.errors.contains(word), "\(outcome.errors)")
            }
            #expect(outcome.errors.utf8.count < 400, "\(outcome.errors)")
        }
    }

    @Test(arguments: [
        ("rank: sixteen", "--rank"), ("rank: [1, 2]", "--rank"), ("rank: true", "--rank"),
        ("rank: 2000", "--rank"), ("method: sgd", "--method"),
        ("warmup: -1", "--warmup"),
    ])
    func `a value that its flag does not take is refused, naming the line`(
        text: String, flag: String
    ) throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let file = try write(
                "model: \(run.model)\ndata: \(run.data)\noutput: \(run.path("out"))\n\(text)\n",
                to: folder + "/run.yaml")
            let outcome = try Program.run(["train", "--config", file])
            #expect(outcome.status == 64 || outcome.status == 1, "\(outcome)")
            #expect(outcome.errors.contains("run.yaml, line 4: \(flag)="), "\(outcome.errors)")
            #expect(!run.exists("out"))
        }
    }

    @Test func `files made to exhaust the reader are refused at once`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let levels = "abcdefghi".dropFirst().reduce("a: &a [x, x, x, x, x, x, x, x, x]\n") {
                let below = Character(Unicode.Scalar($1.asciiValue! - 1))
                let list = repeatElement("*\(below)", count: 9).joined(separator: ", ")
                return $0 + "\($1): &\($1) [\(list)]\n"
            }
            for (text, word) in [
                (levels + "? *i\n: 1\n? *i\n: 2\n", "line 2"),
                ("rank: " + String(repeating: "[", count: 100_000), "YAML"),
                ((0..<2000).map { String(repeating: " ", count: $0) + "a:\n" }.joined(), "MiB"),
                (String(repeating: "# a comment\n", count: 100_000), "MiB"),
                ("- rank\n", "mapping"),
                ("rank", "mapping"),
            ] {
                let file = try write(text, to: folder + "/run.yaml")
                let outcome = try Program.run(["train", "--config", file])
                #expect(outcome.status == 1, "\(outcome.errors.prefix(300))")
                #expect(outcome.errors.contains(word), "\(outcome.errors.prefix(300))")
                #expect(outcome.errors.utf8.count < 400)
            }
            try Data([0x72, 0x3A, 0x20, 0xFF]).write(to: URL(filePath: folder + "/run.yaml"))
            for path in [folder + "/run.yaml", folder + "/none.yaml", folder] {
                let outcome = try Program.run(["train", "--config", path])
                #expect(outcome.status == 1 && outcome.errors.contains(path), "\(outcome)")
            }
        }
    }

    // MARK: Writing

    @Test func `a run leaves all its flags, and they give the same run`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            // What the shell would need quotes for.
            let data = run.path("the \"rows\": #1.jsonl")
            try run.writeRows(40, to: data)
            let arguments = run.arguments(
                "first", "--data", data, "--steps", "6", "--schedule", "wsd", "--no-shuffle",
                "--alpha", "5", "--save-every", "5", "--tensorboard", run.path("events"),
                "--init", "gaussian")
            _ = try finish(arguments)
            let left = run.path("first/run.yaml")
            let kept = try lines(run.contents("first/run.yaml"))

            // Every flag that has a value, but those of one call.
            let ofOneCall = ["config", "resume", "force", "dry-run", "json", "help", "version"]
            for flag in try flags() {
                guard let name = name(flag), !ofOneCall.contains(name) else { continue }
                let has = flag["kind"]?.string == "flag" || flag["defaultValue"] != nil
                let isGiven = arguments.contains("--\(name)")
                #expect(kept[name] != nil || !(has || isGiven), "\(name)")
            }
            #expect(ofOneCall.allSatisfy { kept[$0] == nil })

            _ = try finish(["train", "--config", left, "--output", run.path("second")])
            #expect(try run.factors("second") == run.factors("first"))
            var again = try lines(run.contents("second/run.yaml"))
            again["output"] = kept["output"]
            #expect(again == kept)
        }
    }

    @Test func `a run that its flags began goes on with the file that another left`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            _ = try finish(run.arguments("first", "--save-every", "5"))
            let running = try Program.start(run.arguments("second", "--save-every", "5"))
            while running.isRunning && run.newestCheckpoint(of: "second") == 0 { usleep(1000) }
            running.send(SIGKILL)
            _ = running.outcome()
            #expect(!run.exists("second"))
            // Refused, were the identities not equal.
            let outcome = try finish([
                "train", "--config", run.path("first/run.yaml"), "--output", run.path("second"),
                "--resume",
            ])
            #expect(outcome.errors.contains("goes on after step"), "\(outcome.errors)")
            #expect(try run.factors("second") == run.factors("first"))
        }
    }

    // MARK: Looking

    @Test func `a dry run says what would happen and writes nothing`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let arguments = run.arguments(
                "out", "--schedule", "linear", "--save-every", "5", "--dry-run")
            let before = run.names("")
            let json = try finish(arguments + ["--json"]).json
            let data = try #require(json["data"])
            #expect(data["training"]?["rows"] == .int(40))
            #expect(data["steps"]?["total"] == .int(SmallRun.steps))
            // Rank 2: two layers of seven modules, hidden 64 and feed-forward 160.
            #expect(json["trainable_parameters"] == .int(2 * 2 * (4 * 128 + 3 * 224)))
            let rates = json["learning_rates"]?.array ?? []
            #expect(rates.first?["learning_rate"]?.double == 1e-3)
            #expect(rates.last?["step"] == .int(SmallRun.steps))
            let text = try finish(arguments).output
            for word in ["40 rows", "\(SmallRun.steps) (an epoch", "trainable", "learning rate"] {
                #expect(text.contains(word), "\(text)")
            }
            #expect(run.names("") == before)
        }
    }

    @Test func `a dry run meets the errors that the run would`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            try FileManager.default.createDirectory(
                atPath: run.path("there"), withIntermediateDirectories: false)
            let bad = try write("{\"text\": \"a\"}\n{\"text\": 3}\n", to: folder + "/bad.jsonl")
            for (arguments, word) in [
                (run.arguments("there"), "--force"), (run.arguments("x", "--data", bad), "line 2"),
                (run.arguments("x", "--model", "/nonexistent"), "/nonexistent"),
                (run.arguments("x", "--init-adapter", "/nonexistent"), "/nonexistent"),
                (run.arguments("x", "--decay-ratio", "2"), "--decay-ratio"),
                (run.arguments("x", "--eval-every", "2"), "--eval-every"),
            ] {
                let outcome = try Program.run(arguments + ["--dry-run"])
                #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
                #expect(outcome.errors.contains(word), "\(outcome.errors)")
            }
        }
    }
}
