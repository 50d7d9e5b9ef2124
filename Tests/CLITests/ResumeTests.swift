import Foundation
import LorikeetRuntime
import TestSupport
import Testing

/// Runs that are killed, stopped, damaged or starved, and taken up, as a user does it.
@Suite(.serialized) struct ResumeTests {
    private func finish(
        _ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Program.Outcome {
        let outcome = try Program.run(arguments)
        #expect(outcome.status == 0, "\(outcome.errors)", sourceLocation: sourceLocation)
        return outcome
    }

    /// Starts a run and sends `signal` once `isTime`; fails when the run ends before.
    private func cut(
        _ arguments: [String], by signal: Int32, when isTime: () throws -> Bool
    ) throws -> Program.Outcome {
        let running = try Program.start(arguments)
        while try running.isRunning && !isTime() { usleep(1000) }
        #expect(running.isRunning, "the run ended before it was cut")
        running.send(signal)
        return running.outcome()
    }

    /// A run with checkpoints that was killed after a few steps, and what an uninterrupted one makes.
    private func killed(
        _ run: SmallRun, after step: Int = 20
    ) throws -> (arguments: [String], whole: Data) {
        _ = try finish(run.arguments("whole"))
        let arguments = run.arguments("cut", "--save-every", "5", "--resume")
        _ = try cut(arguments, by: SIGKILL) { run.newestCheckpoint(of: "cut") >= step }
        #expect(!run.exists("cut"))
        return (arguments, try run.factors("whole"))
    }

    @Test func `the same seed and number of threads give the same bytes`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            for (output, threads) in [("a", "1"), ("b", "1"), ("c", "2"), ("d", "2")] {
                _ = try finish(run.arguments(output, "--threads", threads))
            }
            #expect(try run.factors("a") == run.factors("b"))
            #expect(try run.factors("c") == run.factors("d"))
        }
    }

    @Test func `a run killed three times and resumed ends with the same bytes`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let (arguments, whole) = try killed(run)
            for step in [150, 300] {
                let outcome = try cut(arguments, by: SIGKILL) {
                    run.newestCheckpoint(of: "cut") >= step
                }
                #expect(outcome.errors.contains("goes on after step"), "\(outcome.errors)")
            }
            _ = try finish(arguments)
            #expect(try run.factors("cut") == whole)
            #expect(!run.exists("cut.checkpoints"))
            #expect(
                try run.contents("cut/metrics.jsonl").split(separator: 0x0A).count == SmallRun.steps
            )
        }
    }

    @Test func `SIGTERM saves, exits with 130, and the run can be resumed`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            _ = try finish(run.arguments("whole", "--steps", "4000"))
            // The first checkpoint tells that steps are made; the stop itself saves another.
            let arguments = run.arguments(
                "cut", "--steps", "4000", "--save-every", "7", "--resume")
            let outcome = try cut(arguments, by: SIGTERM) { run.newestCheckpoint(of: "cut") > 0 }
            #expect(outcome.status == 130, "\(outcome)")
            #expect(outcome.errors.contains("Stopped after step"), "\(outcome.errors)")
            #expect(outcome.output.isEmpty && !run.exists("cut"))
            _ = try finish(arguments)
            #expect(try run.factors("cut") == run.factors("whole"))
        }
    }

    @Test func `a killed run keeps the best adapter that it had measured`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            func arguments(_ output: String, _ more: String...) -> [String] {
                // So fast that the loss on held-out rows soon rises again.
                run.arguments(
                    output, "--learning-rate", "3e-2", "--validation-split", "0.2",
                    "--eval-every", "5", "--early-stopping", "100")
                    + more
            }
            let whole = try finish(arguments("whole") + ["--json"]).json
            let best = try #require(whole["best_step"]?.int)
            #expect(whole["adapter_step"]?.int == best && best < SmallRun.steps)
            let resumed = arguments("cut", "--save-every", "5", "--resume")
            _ = try cut(resumed, by: SIGKILL) { run.newestCheckpoint(of: "cut") >= best + 10 }
            #expect(try finish(resumed + ["--json"]).json["adapter_step"]?.int == best)
            #expect(try run.factors("cut") == run.factors("whole"))
            let last = try finish(arguments("last", "--no-keep-best", "--json")).json
            #expect(last["adapter_step"] == last["steps"])
            #expect(try run.factors("last") != run.factors("whole"))

            let rows = try run.contents("whole/metrics.jsonl").split(separator: 0x0A).map {
                try JSON(parsing: String(decoding: $0, as: UTF8.self), source: "metrics.jsonl")
            }
            let losses = rows.compactMap { row in
                row["validation_loss"]?.double.map { (row["step"]?.int, $0) }
            }
            #expect(losses.min { $0.1 < $1.1 }?.0 == best)
            let manifest = try Program.run([
                "bundle", "inspect", run.path("cut/cut.lorikeet"), "--json",
            ]).json
            #expect(manifest["training"]?["adapter_step"]?.int == best)
        }
    }

    @Test func `a changed flag or data file is refused by name`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let (arguments, whole) = try killed(run)
            for (flag, value) in [("--rank", "4"), ("--seed", "4"), ("--schedule", "cosine")] {
                let outcome = try Program.run(arguments + [flag, value])
                #expect(outcome.status == 1, "\(outcome)")
                #expect(outcome.errors.contains("another \(flag)"), "\(outcome.errors)")
            }
            try run.writeRows(41, to: run.data)
            let outcome = try Program.run(arguments)
            #expect(outcome.status == 1, "\(outcome)")
            #expect(outcome.errors.contains("another --data"), "\(outcome.errors)")
            try run.writeRows(40, to: run.data)
            _ = try finish(arguments)
            #expect(try run.factors("cut") == whole)
        }
    }

    @Test func `a damaged checkpoint is named and the one before it taken`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            let (arguments, whole) = try killed(run)
            let damaged = run.path(
                String(format: "cut.checkpoints/step-%06d", run.newestCheckpoint(of: "cut")))
            let state = damaged + "/state.safetensors"
            var bytes = try Data(contentsOf: URL(filePath: state))
            bytes[bytes.count / 2] ^= 1
            try bytes.write(to: URL(filePath: state))
            let outcome = try finish(arguments)
            #expect(outcome.errors.contains("damaged"), "\(outcome.errors)")
            #expect(outcome.errors.contains(damaged), "\(outcome.errors)")
            #expect(try run.factors("cut") == whole)
        }
    }

    @Test func `a full disk leaves the last good checkpoint`() throws {
        try Fixtures.withTemporaryFolder { folder in
            let run = try SmallRun(in: folder)
            _ = try finish(run.arguments("whole"))
            let size = try run.contents("whole/metrics.jsonl").count
            let arguments = run.arguments("cut", "--save-every", "5", "--resume")
            // A limit on a file's size, which metrics.jsonl meets on its way; the signal is ignored.
            let outcome = try Program.run(
                arguments, limits: "trap '' XFSZ; ulimit -f \(size * 9 / 10 / 1024)")
            #expect(outcome.status == 1, "\(outcome)")
            #expect(outcome.errors.contains("cannot write"), "\(outcome.errors)")
            #expect(!run.exists("cut") && run.newestCheckpoint(of: "cut") > 0)
            _ = try finish(arguments)
            #expect(try run.factors("cut") == run.factors("whole"))
        }
    }
}
