import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// The toy model, whose validation loss is what a test says, evaluation by evaluation.
private struct Scripted: LossAndGradients {
    let model = ToyModel()
    let losses: [Double]
    let position = Position()

    final class Position { var value = 0 }

    func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws -> (loss: Double, targets: Int) {
        try model.accumulate(rows, adapter: adapter, lossScale: lossScale)
    }

    func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, targets: Int) {
        defer { position.value += 1 }
        let targets = rows.reduce(0) { $0 + $1.targetCount }
        return (losses[position.value] * Double(targets), targets)
    }
}

@Suite struct HeldOutTests {
    private let compute = Compute(threads: 2)
    /// Fewer than a batch, so that an evaluation is one pass.
    private let heldOut = Array(ToyModel.rows[7...])

    private func trainer(
        steps: Int = 12, batchSize: Int = 4, _ change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.method = .reflora
        options.length = .steps(steps)
        options.batchSize = batchSize
        options.learningRate = 0.05
        options.refactoringWarmup = 3
        options.validation.interval = 2
        change(&options)
        return try Trainer(Array(ToyModel.rows[..<7]), validation: heldOut, options: options)
    }

    private func factors(_ adapter: TrainableAdapter) -> [[Float]] {
        adapter.modules.flatMap(\.parameters).map(\.values.array)
    }

    /// What a run came to.
    private struct Outcome {
        var summary: Trainer.Summary
        var factors: [[Float]]
        var steps: [StepMetrics]
        /// The factors after each step.
        var history: [[[Float]]]
    }

    private func run(_ trainer: Trainer, _ model: some LossAndGradients) throws -> Outcome {
        let adapter = ToyModel.adapter(scale: 2)
        var (steps, history): ([StepMetrics], [[[Float]]]) = ([], [])
        let summary = try trainer.run(model, adapter: adapter, compute: compute) {
            steps.append($0)
            history.append(factors(adapter))
            return .proceed
        }
        return Outcome(
            summary: summary, factors: factors(adapter), steps: steps, history: history)
    }

    // MARK: Measuring

    @Test(arguments: [1, 2, 4])
    func
        `an evaluation is the mean over all held-out targets, due at every so many steps and the end`(
            batchSize: Int
        ) throws
    {
        let trainer = try trainer(steps: 5, batchSize: batchSize) {
            $0.validation.keepsBest = false
        }
        let adapter = ToyModel.adapter(scale: 2)
        try trainer.run(ToyModel(), adapter: adapter, compute: compute) { step in
            let isDue = [2, 4, 5].contains(step.step)
            #expect((step.validation != nil) == isDue, "step \(step.step)")
            if let evaluation = step.validation {
                let whole = try ToyModel().evaluate(heldOut, adapter: adapter)
                #expect(evaluation.targets == whole.targets)
                // Sums of the same few numbers in another order.
                #expect(abs(evaluation.loss - whole.loss / Double(whole.targets)) < 1e-12)
                #expect(
                    evaluation.json["validation_perplexity"]?.double == exp(evaluation.loss))
            }
            return .proceed
        }
    }

    @Test func `measuring does not change what is learned`() throws {
        let measured = try run(trainer { $0.validation.keepsBest = false }, ToyModel())
        let plain = try run(trainer { $0.validation.interval = nil }, ToyModel())
        #expect(measured.history == plain.history)
    }

    @Test func `metrics have a row for each step and one for each evaluation`() throws {
        let folder = try TemporaryFolder()
        let metrics = try MetricsWriter(path: folder["metrics.jsonl"])
        try trainer(steps: 4).run(
            ToyModel(), adapter: ToyModel.adapter(scale: 2), compute: compute, metrics: metrics)
        let rows = try String(decoding: metrics.contents(), as: UTF8.self).split(separator: "\n")
            .map { try JSON(parsing: String($0), source: "metrics") }
        #expect(rows.map { $0["step"]?.int } == [1, 2, 2, 3, 4, 4])
        #expect(
            rows.map { $0["validation_loss"] != nil } == [false, false, true, false, false, true])
    }

    @Test func `a loss that is not finite stops the run and names its rows`() throws {
        let error = #expect(throws: LorikeetError.self) {
            try run(trainer(), Scripted(losses: [1, .nan]))
        }
        #expect(error?.problem.contains("after step 4") == true)
    }

    @Test func `there is nothing to measure on without rows or targets`() throws {
        var options = TrainingOptions()
        options.validation.interval = 1
        let masked = TrainingRow(inputIDs: [1, 2], labels: [-100, -100])
        for validation in [[], [masked]] {
            #expect(throws: LorikeetError.self) {
                try Trainer(ToyModel.rows, validation: validation, options: options)
            }
        }
    }

    // MARK: The best

    @Test func `the adapter is the one of the lowest validation loss`() throws {
        let outcome = try run(trainer(), Scripted(losses: [5, 3, 4, 3, 2.5, 6]))
        #expect(outcome.summary.validation?.bestStep == 10)
        #expect(outcome.summary.validation?.bestLoss == 2.5)
        #expect(outcome.summary.validation?.lastLoss == 6)
        #expect(outcome.summary.adapterStep == 10 && outcome.summary.steps == 12)
        #expect(outcome.factors == outcome.history[9])
        #expect(
            outcome.steps.compactMap(\.validation?.isBest) == [
                true, true, false, false, true, false,
            ])
    }

    @Test func `the last adapter is kept where that is asked for`() throws {
        let outcome = try run(
            trainer { $0.validation.keepsBest = false }, Scripted(losses: [1, 2, 3, 4, 5, 6]))
        #expect(outcome.summary.adapterStep == 12)
        #expect(outcome.summary.validation?.bestStep == 2)
        #expect(outcome.factors == outcome.history[11])
    }

    // MARK: Early stopping

    @Test func `the run ends when evaluations bring no improvement any more`() throws {
        let losses = [5, 3, 4, 3, 3.5, 1]
        let outcome = try run(trainer { $0.validation.patience = 3 }, Scripted(losses: losses))
        #expect(outcome.summary.steps == 10 && outcome.summary.isStoppedEarly)
        #expect(!outcome.summary.isStopped)
        #expect(outcome.factors == outcome.history[3])
        let patient = try run(trainer { $0.validation.patience = 4 }, Scripted(losses: losses))
        #expect(patient.summary.steps == 12 && !patient.summary.isStoppedEarly)
        #expect(patient.summary.adapterStep == 12)
    }

    @Test func `a fall by less than the delta is no improvement, but may be the best`() throws {
        let outcome = try run(
            trainer {
                $0.validation.patience = 2
                $0.validation.minimumImprovement = 0.5
            }, Scripted(losses: [5, 4.8, 4.6, 1, 1, 1]))
        #expect(outcome.summary.steps == 6 && outcome.summary.isStoppedEarly)
        #expect(outcome.summary.adapterStep == 6)
    }

    // MARK: Going on

    private func checkpoints(_ folder: TemporaryFolder) throws -> CheckpointFolder {
        var options = CheckpointFolder.Options(every: 1)
        options.resumes = true
        return try CheckpointFolder(
            folder["run"], options: options, identity: RunIdentity(["--seed": "0"]), replace: false)
    }

    /// Runs from the newest checkpoint to `last`; the losses are those of a run from the beginning.
    private func part(
        _ trainer: Trainer, _ losses: [Double], in folder: TemporaryFolder, to last: Int
    ) throws -> (summary: Trainer.Summary, factors: [[Float]]) {
        let model = Scripted(losses: losses)
        var state = trainer.beginning(ToyModel.adapter(scale: 2))
        let checkpoints = try checkpoints(folder)
        _ = try checkpoints.restore(&state, totalSteps: trainer.totalSteps)
        model.position.value = state.summary.steps / 2
        var summary = try trainer.run(
            model, from: state, compute: compute, checkpoints: checkpoints
        ) { $0.step == last ? .stop : .proceed }
        summary.seconds = 0
        return (summary, factors(state.adapter))
    }

    @Test(arguments: [[5, 3, 4, 3, 2.5, 6], [5, 3, 4, 3, 3.5, 1]])
    func `a run resumed after every step keeps the same best and ends at the same step`(
        losses: [Double]
    ) throws {
        let trainer = try trainer { $0.validation.patience = 3 }
        let whole = try part(trainer, losses, in: TemporaryFolder(), to: 12)
        let folder = try TemporaryFolder()
        for last in 1..<12 { _ = try part(trainer, losses, in: folder, to: last) }
        let resumed = try part(trainer, losses, in: folder, to: 12)
        #expect(resumed.factors == whole.factors)
        #expect(resumed.summary == whole.summary)
        #expect(whole.summary.steps == (losses[4] < 3 ? 12 : 10))
    }

    @Test func `what a checkpoint says of evaluations is checked`() throws {
        for lie: JSON in [
            1, [:],
            ["last_loss": 1, "best_loss": 1, "best_step": 0, "evaluations_since_improvement": 0],
            ["last_loss": 1, "best_loss": 1, "best_step": 5, "evaluations_since_improvement": 0],
            ["last_loss": 1, "best_loss": 1, "best_step": 2, "evaluations_since_improvement": -1],
        ] {
            let folder = try TemporaryFolder()
            let trainer = try trainer()
            _ = try part(trainer, [5, 3, 4], in: folder, to: 4)
            let newest = folder["run/step-000004"]
            var json = try JSON(contentsOf: newest + "/checkpoint.json")
            #expect(json["validation"]?["best_step"] == .int(4))
            json["validation"] = lie
            try write([UInt8](json.data()), to: newest + "/checkpoint.json")
            let sums = try ["checkpoint.json", "state.safetensors", "metrics.jsonl"].map {
                "\(sha256(try contents("\(newest)/\($0)")))  \($0)\n"
            }
            try write(Array(sums.joined().utf8), to: newest + "/SHA256SUMS")
            var state = trainer.beginning(ToyModel.adapter(scale: 2))
            var notes: [String] = []
            _ = try checkpoints(folder).restore(&state, totalSteps: 12) { notes.append($0) }
            #expect(state.summary.steps == 3, "\(notes)")
        }
    }
}
