import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// The toy model, in which one row goes wrong in one place.
private struct BrokenModel: LossAndGradients {
    enum Fault { case loss, gradient(ModulePath, ofB: Bool), targets }

    let model = ToyModel()
    let row: TrainingRow
    let fault: Fault

    func accumulate(
        _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
    ) throws -> (loss: Double, targets: Int) {
        var result = try model.accumulate(rows, adapter: adapter, lossScale: lossScale)
        guard rows.contains(where: { $0.inputIDs == row.inputIDs }) else { return result }
        switch fault {
        case .loss: result.loss = .nan
        case .gradient(let path, let ofB):
            let gradient = adapter.gradient(at: path)
            (ofB ? gradient?.b : gradient?.a)?[3] = .infinity
        case .targets: return (0, 0)
        }
        return result
    }

    func evaluate(
        _ rows: [TrainingRow], adapter: any LowRankDeltas
    ) throws -> (loss: Double, targets: Int) {
        var result = try model.evaluate(rows, adapter: adapter)
        if rows.contains(where: { $0.inputIDs == row.inputIDs }) { result.loss = .nan }
        return result
    }
}

@Suite struct SentinelTests {
    private let compute = Compute(threads: 2)

    /// Four rows a step in the order of the file: step 2 has rows 5 to 8.
    private func options(steps: Int = 6) -> TrainingOptions {
        var options = TrainingOptions()
        options.method = .lora
        options.length = .steps(steps)
        options.learningRate = 0.02
        options.shuffles = false
        return options
    }

    private func factors(_ adapter: TrainableAdapter) -> [[Float]] {
        adapter.modules.flatMap(\.parameters).map(\.values.array)
    }

    /// The error of a run, after which the factors are those of `soundSteps`.
    private func failure(
        _ model: some LossAndGradients, _ options: TrainingOptions? = nil, after soundSteps: Int
    ) throws -> LorikeetError {
        let options = options ?? self.options()
        let (adapter, sound) = (ToyModel.adapter(scale: 2), ToyModel.adapter(scale: 2))
        let error = #expect(throws: LorikeetError.self) {
            try Trainer(ToyModel.rows, options: options)
                .run(model, adapter: adapter, compute: compute)
        }
        try Trainer(ToyModel.rows, options: options)
            .run(ToyModel(), adapter: sound, compute: compute) {
                $0.step == soundSteps ? .stop : .proceed
            }
        #expect(factors(adapter) == factors(sound))
        return try #require(error)
    }

    @Test(arguments: [1, 4])
    func `a bad gradient is traced to its step, layer and row`(batchSize: Int) throws {
        var options = options()
        (options.batchSize, options.accumulate) = (batchSize, 4 / batchSize)
        for (path, ofB, name) in [
            (ToyModel.first, false, "lora_A"), (ToyModel.first, true, "lora_B"),
            (ToyModel.second, true, "lora_B"),
        ] {
            let model = BrokenModel(row: ToyModel.rows[6], fault: .gradient(path, ofB: ofB))
            let problem = try failure(model, options, after: 1).problem
            #expect(problem.contains("step 2, "), "\(problem)")
            #expect(problem.contains("first at \(path), \(name)"), "\(problem)")
            #expect(problem.contains("row 7 alone"), "\(problem)")
        }
    }

    @Test func `a bad loss is traced to its row`() throws {
        let model = BrokenModel(row: ToyModel.rows[9], fault: .loss)
        let problem = try failure(model, after: 2).problem
        #expect(problem.contains("the loss is nan at step 3"), "\(problem)")
        #expect(problem.contains("row 10 alone"), "\(problem)")
    }

    @Test func `a row keeps its name where others are left out`() throws {
        let rows = [TrainingRow(inputIDs: [1, 2], labels: [-100, -100])] + ToyModel.rows
        let error = #expect(throws: LorikeetError.self) {
            try Trainer(rows, options: options()).run(
                BrokenModel(row: ToyModel.rows[0], fault: .loss),
                adapter: ToyModel.adapter(scale: 2), compute: compute)
        }
        #expect(error?.problem.contains("row 2 alone") == true, "\(String(describing: error))")
    }

    /// A model whose gradients are sound row by row, and overflow together.
    private struct Overflowing: LossAndGradients {
        func accumulate(
            _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
        ) throws -> (loss: Double, targets: Int) {
            adapter.gradient(at: ToyModel.second)?.a[0] += rows.count > 1 ? 1e30 : 1
            return (1, rows.count)
        }

        func evaluate(
            _ rows: [TrainingRow], adapter: any LowRankDeltas
        ) throws -> (loss: Double, targets: Int) { (1, rows.count) }
    }

    @Test func `a gradient too large for its second moment stops the run; no row is blamed`() throws
    {
        let adapter = ToyModel.adapter(scale: 2)
        let before = factors(adapter)
        let error = #expect(throws: LorikeetError.self) {
            try Trainer(ToyModel.rows, options: options())
                .run(Overflowing(), adapter: adapter, compute: compute)
        }
        #expect(error?.problem.contains("none of row 1, row 2, row 3, row 4") == true)
        #expect(factors(adapter) == before)
    }

    @Test func `a batch without targets is an error that names its rows`() throws {
        let model = BrokenModel(row: ToyModel.rows[4], fault: .targets)
        let problem = try failure(model, after: 1).problem
        #expect(problem.contains("exactly 0 at step 2"), "\(problem)")
        #expect(problem.contains("row 5, row 6, row 7, row 8"), "\(problem)")
    }

    @Test func `factors that a step makes infinite stop the run before they are saved`() throws {
        let folder = try TemporaryFolder()
        var options = options()
        // The first steps are small, the third is not: A grows beyond fp32.
        options.learningRate = 1e38
        options.optimizer.weightDecay = 1e10
        let trainer = try Trainer(ToyModel.rows, options: options)
        let checkpoints = try CheckpointFolder(
            folder["run"], options: .init(every: 1), identity: RunIdentity(["--seed": "0"]),
            replace: false)
        let error = #expect(throws: LorikeetError.self) {
            try trainer.run(
                ToyModel(), from: trainer.beginning(ToyModel.adapter(scale: 2)), compute: compute,
                checkpoints: checkpoints)
        }
        #expect(error?.problem.contains("step 1 has made") == true, "\(String(describing: error))")
        #expect(error?.problem.contains("lora_A") == true)
        let names = try withExtendedLifetime(checkpoints) {
            try FileManager.default.contentsOfDirectory(atPath: folder["run"])
        }
        #expect(names.isEmpty)
    }

    @Test func `the last good checkpoint stays`() throws {
        let folder = try TemporaryFolder()
        let trainer = try Trainer(ToyModel.rows, options: options())
        let checkpoints = try CheckpointFolder(
            folder["run"], options: .init(every: 1), identity: RunIdentity(["--seed": "0"]),
            replace: false)
        #expect(throws: LorikeetError.self) {
            try trainer.run(
                BrokenModel(row: ToyModel.rows[9], fault: .loss),
                from: trainer.beginning(ToyModel.adapter(scale: 2)), compute: compute,
                checkpoints: checkpoints)
        }
        try withExtendedLifetime(checkpoints) {
            let names = try FileManager.default.contentsOfDirectory(atPath: folder["run"]).sorted()
            #expect(names == ["step-000001", "step-000002"])
        }
    }

    @Test func `a refactoring that fails falls back to the plain gradient and is counted`() throws {
        let adapter = ToyModel.adapter(scale: 2)
        // S⁻¹ is 1e25 in the first layer, and its product with dA more than fp32 holds.
        for (module, size) in zip(adapter.modules, [1e-25, 0.3]) {
            let b = ToyModel.matrix(module.outputSize, ToyModel.rank, salt: 7, size: 0.3).elements
            for index in b.indices { module.delta.b[index] = Float(b[index] * size) }
        }
        var options = options(steps: 1)
        options.method = .reflora
        options.refactoringWarmup = 0
        var steps: [StepMetrics] = []
        struct Steep: LossAndGradients {
            func accumulate(
                _ rows: [TrainingRow], adapter: any TrainableLowRankDeltas, lossScale: Float
            ) throws -> (loss: Double, targets: Int) {
                adapter.gradient(at: ToyModel.first)?.a[0] += 1e16
                adapter.gradient(at: ToyModel.second)?.a[0] += 1e-3
                return (1, rows.count)
            }

            func evaluate(
                _ rows: [TrainingRow], adapter: any LowRankDeltas
            ) throws -> (loss: Double, targets: Int) { (1, rows.count) }
        }
        try Trainer(ToyModel.rows, options: options)
            .run(Steep(), adapter: adapter, compute: compute) {
                steps.append($0)
                return .proceed
            }
        let step = try #require(steps.first)
        #expect(step.refactoring?.failed == 1 && step.refactoring?.refactored == 1)
        #expect(step.json["refactorings_failed"] == .int(1))
    }
}
