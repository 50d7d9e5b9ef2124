import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet compare --model DIR --data FILE.jsonl --methods lora,reflora --output DIR`.
struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train methods side by side, and write what they came to as a page.",
        discussion: """
            Every method is trained at every learning rate from every seed; a seed decides the start and the order \
            of rows, the same for all. The output holds report.html, report.json and the runs, each as train writes it: \
            lora/lr-0.0001/seed-0.
            Ctrl-C ends the comparison after the current step. The same command goes on with it, also with more \
            methods, rates or seeds: runs that are done are kept.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(help: "Methods, separated by commas.")
    var methods: String

    @Option(help: "Seeds for each, from --seed on.")
    var seeds = 3

    @Option(
        help: "Learning rates for each, separated by commas; default: each method's own.")
    var learningRates: String?

    @Option(
        help:
            "A JSONL file whose task every adapter is scored by, as evaluate measures it; may be repeated."
    )
    var evaluate: [String] = []

    @Option(help: "Rows of each task, from its beginning; default: all.")
    var evaluateLimit: Int?

    @Option(
        help:
            "Measure the loss on the held-out rows at every so many steps too, and compare the runs by it."
    )
    var evalEvery: Int?

    @Option(help: "Steps to smooth losses over; default: a twentieth of the run.")
    var smooth: Int?

    @Option(
        help:
            "Save the current run at every so many steps, in case it is killed; Ctrl-C saves it too."
    )
    var saveEvery: Int?

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @Flag(help: "List the runs, and train none.")
    var dryRun = false

    @OptionGroup(title: "Data") var dataOptions: DataOptions
    @OptionGroup(title: "Method") var methodOptions: MethodOptions
    @OptionGroup(title: "Steps") var stepOptions: StepOptions
    @OptionGroup(title: "Objective") var objectiveOptions: ObjectiveOptions
    @OptionGroup(title: "Regularization") var regularizationOptions: RegularizationOptions
    @OptionGroup(title: "Learning rate") var scheduleOptions: ScheduleOptions
    @OptionGroup(title: "Memory") var memoryOptions: MemoryOptions
    @OptionGroup(title: "Logging") var loggingOptions: LoggingOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard methodOptions.method == nil else {
            throw ValidationError("--method: compare takes --methods.")
        }
        guard dataOptions.data != nil else { throw ValidationError("Missing --data FILE.jsonl.") }
        guard evaluateLimit ?? 1 > 0 else {
            throw ValidationError("--evaluate-limit: expected 1 or more.")
        }
        guard scheduleOptions.learningRate == nil else {
            throw ValidationError("--learning-rate: compare takes --learning-rates.")
        }
        guard saveEvery ?? 1 > 0, smooth ?? 1 > 0 else {
            throw ValidationError("--save-every and --smooth: expected 1 or more.")
        }
        try precision.requireGradients()
        _ = try options()
    }

    func run() throws {
        let comparison = try Comparison(options())
        if dryRun { return printPlan(comparison) }
        let model = try LanguageModel(path: model, compute: common.compute(precision))
        let scores = try scores(over: model)
        Interrupt.listen(SIGTERM)
        var bar: ProgressBar?
        let results: ComparisonResults
        do {
            results = try comparison.run(
                model, data: dataOptions.data ?? "", output: output, replace: outputOptions.force,
                scores: scores, note: Terminal.note
            ) { progress in
                let steps = progress.step.totalSteps
                let done = progress.finishedCount * steps + progress.step.step
                if bar == nil {
                    bar = ProgressBar(
                        "compare", total: comparison.runs.count * steps, after: done - 1)
                }
                bar?.update(
                    done,
                    String(format: "%@  loss %.4f", progress.run.path, progress.step.loss))
                return Interrupt.isRequested ? .stop : .proceed
            }
        } catch let stop as Comparison.Interruption {
            bar?.finish()
            Terminal.note(
                "Stopped with \(stop.finishedCount) of \(comparison.runs.count) runs done and the "
                    + "current one saved. The same command goes on from there.")
            throw ExitCode(130)
        }
        bar?.finish()
        if common.json {
            Terminal.print(results.json)
        } else {
            for method in results.methods { Terminal.print(line(method, of: results)) }
            Terminal.print("\(output)/report.html")
        }
    }

    private func scores(over model: LanguageModel) throws -> [any AdapterScore] {
        var options = Evaluation.Options()
        options.prompt = dataOptions.prompt
        options.limit = evaluateLimit
        return try zip(evaluate, EvaluationTask.names(evaluate)).map { path, name in
            let task = try EvaluationTask(jsonl: path, name: name, model: model, options: options)
            let digest = Digest.sha256(of: try MappedFile(path: path))
            let prompt = dataOptions.prompt?.rawValue ?? "default"
            return TaskScore(task, identity: "\(digest) \(prompt), \(task.count) rows")
        }
    }

    private func options() throws -> Comparison.Options {
        var options = Comparison.Options(
            methods: try methods.split(separator: ",").map { name in
                guard let method = MethodName(rawValue: name.trimmingCharacters(in: .whitespaces))
                else {
                    let names = MethodName.allCases.map(\.rawValue).joined(separator: ", ")
                    throw ValidationError("--methods: '\(name)' is none of \(names).")
                }
                return method
            })
        options.learningRates = try (learningRates ?? "").split(separator: ",").map { text in
            guard let rate = Double(text.trimmingCharacters(in: .whitespaces)) else {
                throw ValidationError("--learning-rates: '\(text)' is no number.")
            }
            return rate
        }
        options.seedCount = seeds
        options.smoothing = smooth.map { Smoothing(over: $0) }
        dataOptions.apply(to: &options.fineTuning)
        try methodOptions.apply(to: &options.fineTuning)
        stepOptions.apply(to: &options.fineTuning)
        objectiveOptions.apply(to: &options.fineTuning)
        regularizationOptions.apply(to: &options.fineTuning)
        scheduleOptions.apply(to: &options.fineTuning)
        memoryOptions.apply(to: &options.fineTuning)
        loggingOptions.apply(to: &options.fineTuning)
        options.fineTuning.training.validation.interval = evalEvery
        // Scores are of what a run came to.
        options.fineTuning.training.validation.keepsBest = false
        options.fineTuning.checkpoints = saveEvery.map { CheckpointFolder.Options(every: $0) }
        return options
    }

    private func printPlan(_ comparison: Comparison) {
        let finished = Set(comparison.finishedRuns(in: output))
        let seconds = finished.compactMap { run in
            (try? RunMetrics(path: "\(output)/\(run.path)"))?.values("seconds").last
        }
        let left = comparison.runs.count - finished.count
        let estimate =
            seconds.isEmpty
            ? nil : seconds.reduce(0, +) / Double(seconds.count) * Double(left)
        if common.json {
            Terminal.print([
                "runs": .array(
                    comparison.runs.map {
                        ["folder": .string($0.path), "done": .bool(finished.contains($0))]
                    }),
                "left": .int(left), "seconds_left": estimate.map { .double($0) } ?? .null,
            ])
            return
        }
        for run in comparison.runs {
            Terminal.print(finished.contains(run) ? "\(run.path)  done" : run.path)
        }
        let time =
            estimate.map { "about \(Format.duration($0)) by the runs that are done" }
            ?? "no time is known before a run is done"
        Terminal.print("\(left) of \(comparison.runs.count) runs are left; \(time).")
    }

    private func line(
        _ method: ComparisonResults.Method, of results: ComparisonResults
    ) -> String {
        guard let best = method.best, let loss = best.finalLoss else {
            return "\(method.name.rawValue): a run failed at every learning rate"
        }
        var line = String(
            format: "%@: last loss %.4f (%.4f–%.4f) at learning rate %@", method.name.rawValue,
            loss.mean, loss.low, loss.high, "\(best.learningRate)")
        if let saved = results.stepsSaved(method), method.name != results.baseline {
            line += String(
                format: ", %@'s loss in %.0f %% fewer steps", results.baseline.rawValue,
                100 * saved)
        }
        return line
    }
}
