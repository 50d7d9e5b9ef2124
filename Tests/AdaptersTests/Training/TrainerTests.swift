import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

@Suite struct TrainerTests {
    private let compute = Compute(threads: 2)

    private func reference() throws -> JSON {
        let url = try #require(
            Bundle.module.url(
                forResource: "toy_training", withExtension: "json", subdirectory: "Resources"))
        return try JSON(contentsOf: url.path)
    }

    /// The options of Tests/interop/toy_training.py.
    private func options(_ method: MethodName) -> TrainingOptions {
        var options = TrainingOptions()
        options.method = method
        options.length = .steps(30)
        options.batchSize = 4
        options.learningRate = 0.02
        options.schedule = .cosine
        options.warmup = 3
        options.maximumGradientNorm = 0.3
        options.optimizer.weightDecay = 0.01
        options.refactoringWarmup = 4
        options.shuffles = false
        return options
    }

    private func train(
        _ options: TrainingOptions, rows: [TrainingRow] = ToyModel.rows
    ) throws -> (
        adapter: TrainableAdapter, rows: [StepMetrics]
    ) {
        let adapter = ToyModel.adapter(
            scale: options.method.scale(rank: ToyModel.rank, alpha: 8), for: options.method)
        var steps: [StepMetrics] = []
        try Trainer(rows, options: options).run(ToyModel(), adapter: adapter, compute: compute) {
            steps.append($0)
            return .proceed
        }
        return (adapter, steps)
    }

    @Test(arguments: MethodName.allCases)
    func `a run is torch's run`(method: MethodName) throws {
        let reference = try #require(try reference()["runs"]?[method.rawValue])
        let (adapter, steps) = try train(options(method))
        let losses = try #require(reference["losses"]?.array)
        let norms = try #require(reference["gradient_norms"]?.array)
        // fp32 on both sides: differences of 1e-7 that thirty steps of Adam spread a little.
        for (step, (loss, norm)) in zip(steps, zip(losses, norms)) {
            #expect(abs(step.loss / (loss.double ?? .nan) - 1) < 1e-5, "step \(step.step)")
            #expect(abs(step.gradientNorm / (norm.double ?? .nan) - 1) < 1e-5, "step \(step.step)")
        }
        #expect(steps.count == losses.count)
        let factors = try #require(reference["factors"]?.array)
        let ours = adapter.modules.flatMap {
            [$0.delta.a, $0.delta.b] + ($0.magnitude.map { [$0.values] } ?? [])
        }
        #expect(ours.count == factors.count)
        for (mine, theirs) in zip(ours, factors) {
            let expected = Matrix(mine.count, 1, (theirs.array ?? []).compactMap(\.double))
            let got = Matrix(mine.count, 1, mine.array.map(Double.init))
            #expect(got.relativeError(to: expected) < 1e-5)
        }
    }

    @Test func `RefLoRA reports its condition from the warm-up's end on`() throws {
        let (_, steps) = try train(options(.reflora))
        #expect(steps[..<4].allSatisfy { $0.refactoring == nil })
        #expect(steps[4...].allSatisfy { ($0.refactoring?.conditionNumber ?? 0) >= 1 })
        #expect(steps[4...].allSatisfy { $0.refactoring?.refactored == 2 })
        #expect(steps[4].json["refactorings_skipped"] == .int(0))
        #expect(steps[..<4].allSatisfy { $0.json["refactoring_seconds"] == nil })
        #expect(steps[4...].allSatisfy { ($0.json["refactoring_seconds"]?.double ?? 0) > 0 })
        let (_, scalar) = try train(options(.refloraS))
        #expect(scalar[..<3].allSatisfy { $0.refactoring == nil })
        #expect(scalar[3...].allSatisfy { $0.refactoring?.refactored == 2 })
    }

    @Test func `accumulation does not change a step`() throws {
        var accumulated = options(.reflora)
        (accumulated.batchSize, accumulated.accumulate) = (1, 4)
        let (whole, parts) = (try train(options(.reflora)), try train(accumulated))
        for (a, b) in zip(whole.rows, parts.rows) {
            // The same numbers are added in the same order, but for where they are scaled.
            #expect(abs(a.loss / b.loss - 1) < 1e-6)
            #expect(a.tokens == b.tokens)
        }
    }

    @Test func `a run does not depend on the number of threads`() throws {
        let options = options(.reflora)
        let alone = ToyModel.adapter(scale: 2)
        try Trainer(ToyModel.rows, options: options)
            .run(ToyModel(), adapter: alone, compute: Compute(threads: 1))
        let (together, _) = try train(options)
        for (a, b) in zip(alone.modules, together.modules) {
            #expect(a.delta.a.array == b.delta.a.array)
            #expect(a.delta.b.array == b.delta.b.array)
        }
    }

    @Test func `the seed decides the order, and epochs take every row equally often`() throws {
        func order(_ seed: UInt64?) -> [Int] {
            var order = RowOrder(count: 10, shuffledBy: seed)
            return (0..<30).map { order.row(at: $0) }
        }
        #expect(order(1) == order(1))
        #expect(order(1) != order(2))
        #expect(order(nil) == (0..<30).map { $0 % 10 })
        #expect(Set(order(1)[10..<20]) == Set(0..<10))
        #expect(order(1)[..<10] != order(1)[10..<20])
        var late = RowOrder(count: 10, shuffledBy: 1)
        #expect(late.row(at: 25) == order(1)[25])

        var options = options(.lora)
        (options.length, options.shuffles) = (.epochs(2), true)
        let (_, steps) = try train(options)
        #expect(steps.count == 5)
        #expect(
            steps.reduce(0) { $0 + $1.tokens } == 2
                * ToyModel.rows.reduce(0) { $0 + $1.inputIDs.count })
    }

    @Test func `the last step of an epoch takes what is left`() throws {
        var options = options(.lora)
        options.length = .epochs(1)
        let (_, steps) = try train(options)
        #expect(steps.count == 3)
        #expect(steps[2].tokens == ToyModel.rows[8...].reduce(0) { $0 + $1.inputIDs.count })
    }

    @Test func `progress may stop the run`() throws {
        let adapter = ToyModel.adapter(scale: 2)
        let summary = try Trainer(ToyModel.rows, options: options(.lora))
            .run(ToyModel(), adapter: adapter, compute: compute) { $0.step == 7 ? .stop : .proceed }
        #expect(summary.steps == 7 && summary.isStopped)
        #expect(summary.lastLoss.isFinite)
    }

    @Test func `rows without targets are left out, and alone are an error`() throws {
        let masked = TrainingRow(inputIDs: [1, 2, 3], labels: [5, -100, -100])
        let (_, with) = try train(options(.lora), rows: [masked] + ToyModel.rows)
        let (_, without) = try train(options(.lora))
        #expect(with.map(\.loss) == without.map(\.loss))
        let error = #expect(throws: LorikeetError.self) {
            try Trainer([masked, masked], options: options(.lora))
        }
        #expect(error?.description.contains("masked") == true)
        #expect(throws: LorikeetError.self) {
            try Trainer([TrainingRow](), options: options(.lora))
        }
    }

    @Test func `options out of range are refused by their flags`() throws {
        func flag(_ change: (inout TrainingOptions) -> Void) -> String? {
            var options = TrainingOptions()
            change(&options)
            do {
                _ = try Trainer(ToyModel.rows, options: options)
                return nil
            } catch let error as LorikeetError {
                return error.subject
            } catch {
                return "\(error)"
            }
        }
        #expect(flag { _ in } == nil)
        #expect(flag { $0.batchSize = 0 } == "--batch-size")
        #expect(flag { $0.accumulate = -1 } == "--accumulate")
        #expect(flag { $0.length = .steps(0) } == "--steps")
        #expect(flag { $0.length = .epochs(.max) } == "--epochs")
        #expect(flag { $0.learningRate = .nan } == "--learning-rate")
        #expect(flag { $0.warmup = -1 } == "--warmup")
    }

    /// A model that breaks at a step.
    private struct Breaking: LossAndGradients {
        let model = ToyModel()
        let atCall: Int
        let breaksGradient: Bool
        let calls = Counter()

        final class Counter { var count = 0 }

        func accumulate(
            _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
        )
            throws -> (loss: Double, targets: Int)
        {
            var result = try model.accumulate(rows, adapter: adapter, lossScale: lossScale)
            calls.count += 1
            if calls.count == atCall {
                if breaksGradient {
                    adapter.gradient(at: ToyModel.first)?.b[3] = .infinity
                } else {
                    result.loss = .nan
                }
            }
            return result
        }

        func evaluate(
            _ rows: [TrainingRow], adapter: any LowRankDeltas
        ) throws -> (
            loss: Double, targets: Int
        ) { try model.evaluate(rows, adapter: adapter) }
    }

    @Test(arguments: [false, true])
    func `a loss or gradient that is not finite stops the run and names the step`(
        inGradient: Bool
    ) throws {
        let adapter = ToyModel.adapter(scale: 2)
        let good = try {
            var options = options(.lora)
            options.length = .steps(30)
            let adapter = ToyModel.adapter(scale: 2)
            try Trainer(ToyModel.rows, options: options)
                .run(ToyModel(), adapter: adapter, compute: compute) {
                    $0.step == 4 ? .stop : .proceed
                }
            return adapter
        }()
        let error = #expect(throws: LorikeetError.self) {
            try Trainer(ToyModel.rows, options: options(.lora)).run(
                Breaking(atCall: 5, breaksGradient: inGradient), adapter: adapter, compute: compute)
        }
        #expect(error?.problem.contains("step 5") == true)
        // The factors are those after the last good step.
        #expect(
            adapter.modules[0].delta.a.array == good.modules[0].delta.a.array)
    }

    @Test func `metrics are a JSON line a step, written at once`() throws {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("metrics-\(UUID().uuidString).jsonl").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let adapter = ToyModel.adapter(scale: 2)
        let writer = try MetricsWriter(path: path)
        try Trainer(ToyModel.rows, options: options(.reflora))
            .run(ToyModel(), adapter: adapter, compute: compute, metrics: writer) { row in
                let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
                #expect(lines.count == row.step)
                let last = try JSON(parsing: String(lines[row.step - 1]), source: path)
                #expect(last == row.json)
                for key in [
                    "step", "loss", "learning_rate", "gradient_norm", "tokens", "tokens_per_second",
                    "seconds",
                ] { #expect(last[key]?.double != nil) }
                return row.step == 6 ? .stop : .proceed
            }
        let error = #expect(throws: LorikeetError.self) {
            try MetricsWriter(path: "/nowhere/m.jsonl")
        }
        #expect(error?.code == .io)
    }

    @Test func `schedules are those of transformers`() throws {
        let recorded = try #require(try reference()["schedules"]?.array)
        for entry in recorded {
            let schedule = try #require(
                LearningRateSchedule(rawValue: entry["schedule"]?.string ?? ""))
            let warmup = try #require(entry["warmup"]?.int)
            let total = try #require(entry["total"]?.int)
            let factors = try #require(entry["factors"]?.array)
            #expect(factors.count == total)
            for (step, factor) in factors.enumerated() {
                let ours = schedule.factor(step: step, warmup: warmup, total: total)
                // The same formula in float64.
                #expect(abs(ours - (factor.double ?? .nan)) < 1e-12, "\(schedule), step \(step)")
            }
        }
        #expect(recorded.count == 9)
    }
}
