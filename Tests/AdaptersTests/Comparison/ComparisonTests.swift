import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Comparisons of a tiny model's training.
@Suite struct ComparisonTests {
    private func options(_ methods: [MethodName] = [.lora, .reflora]) -> Comparison.Options {
        var options = Comparison.Options(methods: methods)
        options.seedCount = 2
        options.learningRates = [1e-2]
        options.fineTuning.rank = 2
        options.fineTuning.training.length = .steps(5)
        options.fineTuning.training.batchSize = 2
        options.fineTuning.training.refactoringWarmup = 2
        options.fineTuning.training.seed = 7
        return options
    }

    /// Runs in `folder`; the names of the runs that were trained, in order.
    private func compare(
        _ options: Comparison.Options, in folder: String, stopping: Comparison.Run? = nil,
        replace: Bool = false, scored: Bool = false
    ) throws -> (trained: [String], results: ComparisonResults) {
        let model = try LanguageModel(path: folder + "/model", compute: Compute(threads: 2))
        var trained: [String] = []
        let data = folder + "/rows.jsonl"
        let task = try EvaluationTask(
            jsonl: data, name: "rows", model: model, options: Evaluation.Options())
        let scores = scored ? [TaskScore(task, identity: "rows", batchSize: 3)] : []
        let results = try Comparison(options).run(
            model, data: data, output: folder + "/out", replace: replace, scores: scores,
            note: { _ in }
        ) { progress in
            if trained.last != progress.run.path { trained.append(progress.run.path) }
            return progress.run == stopping && progress.step.step == 3 ? .stop : .proceed
        }
        return (trained, results)
    }

    private func withModel(_ body: (String) throws -> Void) throws {
        try Fixtures.withTemporaryFolder { folder in
            try TinyLanguageModel.write(to: folder + "/model")
            try Data(TinyLanguageModel.rows(9).utf8).write(
                to: URL(filePath: folder + "/rows.jsonl"))
            try body(folder)
        }
    }

    private func adapters(_ folder: String, _ runs: [Comparison.Run]) throws -> [Data] {
        try runs.map {
            try Data(
                contentsOf: URL(
                    filePath: "\(folder)/out/\($0.path)/adapter_model.safetensors"))
        }
    }

    @Test func `a plan has every method at every rate, a seed after the other`() throws {
        var options = options()
        options.learningRates = [1e-4, 3e-4]
        #expect(
            try Comparison(options).runs.map(\.path) == [
                "lora/lr-0.0001/seed-7", "lora/lr-0.0003/seed-7", "reflora/lr-0.0001/seed-7",
                "reflora/lr-0.0003/seed-7", "lora/lr-0.0001/seed-8", "lora/lr-0.0003/seed-8",
                "reflora/lr-0.0001/seed-8", "reflora/lr-0.0003/seed-8",
            ])
        options.learningRates = []
        options.seedCount = 1
        #expect(try Comparison(options).runs.map(\.learningRate) == [2e-4, 2e-4])
        for change: (inout Comparison.Options) -> Void in [
            { $0.methods = [] }, { $0.methods = [.lora, .lora] }, { $0.seedCount = 0 },
            { $0.learningRates = [1e-4, 1e-4] }, { $0.learningRates = [.nan] },
        ] {
            var wrong = options
            change(&wrong)
            #expect(throws: LorikeetError.self) { try Comparison(wrong) }
        }
    }

    @Test func `runs are those of train, and a comparison grows by what is missing`() throws {
        try withModel { folder in
            let (trained, results) = try compare(options(), in: folder, scored: true)
            let runs = try Comparison(options()).runs
            #expect(trained == runs.map(\.path))
            for name in ["report.html", "report.json", "comparison.json"] {
                #expect(FileManager.default.fileExists(atPath: "\(folder)/out/\(name)"))
            }
            // The same rows in the same order, and B = 0 at the start: the first losses are the same.
            let first = results.methods.map {
                $0.rates[0].runs.map { $0.metrics.values("loss")[0] }
            }
            #expect(first[0] == first[1] && first[0][0] != first[0][1])
            #expect(results.methods.allSatisfy { $0.best?.finalLoss?.count == 2 })
            let json = try JSON(contentsOf: folder + "/out/report.json")
            let score = json["methods"]?.array?[0]["learning_rates"]?.array?[0]["scores"]
            #expect((score?["rows"]?["mean"]?.double ?? 0) > 0)

            let model = try LanguageModel(path: folder + "/model", compute: Compute(threads: 2))
            var alone = options().fineTuning
            (alone.training.method, alone.training.learningRate) = (.reflora, 1e-2)
            alone.training.seed = 8
            _ = try FineTuning(options: alone).run(
                model, data: folder + "/rows.jsonl", output: folder + "/alone", replace: false)
            let own = try Data(
                contentsOf: URL(filePath: folder + "/alone/adapter_model.safetensors"))
            #expect(try adapters(folder, runs)[3] == own)

            // Another method is trained, what is there is not.
            let more = try compare(options([.lora, .reflora, .rslora]), in: folder)
            #expect(more.trained == ["rslora/lr-0.01/seed-7", "rslora/lr-0.01/seed-8"])
            // A run without its record, or with a damaged one, is not done.
            let record = folder + "/out/lora/lr-0.01/seed-8/result.json"
            try Data("{\"scores\":{\"a\":1}}".utf8).write(to: URL(filePath: record))
            #expect(try compare(options(), in: folder).trained == ["lora/lr-0.01/seed-8"])
            #expect(try compare(options(), in: folder).trained.isEmpty)
        }
    }

    @Test func `a comparison that was stopped goes on where it stood, to the same bytes`() throws {
        try withModel { folder in
            let runs = try Comparison(options()).runs
            _ = try compare(options(), in: folder)
            let whole = try adapters(folder, runs)
            for stopped in runs {
                try FileManager.default.removeItem(atPath: folder + "/out")
                let stop = #expect(throws: Comparison.Interruption.self) {
                    try compare(options(), in: folder, stopping: stopped)
                }
                #expect(stop?.finishedCount == runs.firstIndex(of: stopped))
                #expect(
                    try Comparison(options()).finishedRuns(in: folder + "/out").count
                        == stop?.finishedCount)
                #expect(!FileManager.default.fileExists(atPath: folder + "/out/report.html"))
                let (trained, results) = try compare(options(), in: folder)
                #expect(trained.first == stopped.path)
                let steps = results.methods.flatMap { $0.rates[0].runs }.map {
                    $0.metrics.points("loss").map(\.x)
                }
                #expect(steps.allSatisfy { $0 == [1, 2, 3, 4, 5] })
                #expect(try adapters(folder, runs) == whole)
            }
        }
    }

    @Test func `another comparison's folder, and any other, is refused`() throws {
        try withModel { folder in
            _ = try compare(options([.lora]), in: folder)
            var other = options([.lora])
            other.fineTuning.rank = 3
            let error = #expect(throws: LorikeetError.self) { try compare(other, in: folder) }
            #expect(error?.description.contains("--rank") == true)
            #expect(try compare(other, in: folder, replace: true).trained.count == 2)
            try FileManager.default.removeItem(atPath: folder + "/out/comparison.json")
            let stranger = #expect(throws: LorikeetError.self) {
                try compare(other, in: folder)
            }
            #expect(stranger?.code == .exists)
        }
    }

    @Test func `a run whose loss is not finite is a result, and its rate is not the best`() throws {
        try withModel { folder in
            var options = options([.lora])
            options.learningRates = [1e-2, 1e30]
            let (_, results) = try compare(options, in: folder)
            let rates = results.methods[0].rates
            #expect(rates[1].finalLoss == nil)
            #expect(rates[1].runs.allSatisfy { $0.record.failure?.contains("step") == true })
            #expect(results.methods[0].best?.learningRate == 1e-2)
            let page = try String(contentsOfFile: folder + "/out/report.html", encoding: .utf8)
            #expect(page.contains("Runs that failed"))
            // It is done as much as the others are.
            #expect(try compare(options, in: folder).trained.isEmpty)
        }
    }

    @Test func `memory's peak counts anew for every run`() throws {
        guard resetPeakMemory() else { return }
        var block: [UInt8]? = [UInt8](repeating: 1, count: 2 << 30)
        let high = withExtendedLifetime(block) { peakMemoryBytes() }
        block = nil
        #expect(resetPeakMemory())
        // Other tests run meanwhile, and what they hold goes up and down by a gigabyte: half of the block.
        #expect(high > 2 << 30)
        #expect(peakMemoryBytes() < high - 1 << 30)
    }
}
