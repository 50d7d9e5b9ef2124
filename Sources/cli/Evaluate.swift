public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet evaluate --model DIR [--adapter PATH] --task FILE.jsonl`.
struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how well a model, with an adapter or without, does tasks.",
        discussion: """
            A line of a task is one of {"instruction","input","output","answer"} (multiple choice as LLM-Adapters \
            writes it), {"prompt","choices":[…],"answer"}, {"prompt","completion"} or \
            {"instruction","input","output"} (exact match), {"text"} (perplexity). With --text-columns the model is \
            an encoder with a head, and a task a TSV, CSV or JSONL table.
            Ctrl-C prints what was measured so far and writes no predictions.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "A JSONL file, or a table with --text-columns; may be repeated.")
    var task: [String]

    @OptionGroup(title: "Tables of an encoder's task") var columns: ColumnOptions

    @Option(help: "Longer rows of a table are cut to this many tokens.")
    var maxLength = 512

    @Option(
        help: """
            generation: the first possible answer in the generated text; likelihood: the likeliest choice; exact: \
            the whole text; perplexity. Default: what the first row is fit for.
            """)
    var by: EvaluationMeasure?

    @Option(
        help: """
            How an instruction is put: chat, through the model's template, or alpaca; default: chat where there \
            is a template, as in training.
            """)
    var prompt: PromptStyle?

    @Option(help: "Rows of each task, from its beginning; default: all.")
    var limit: Int?

    @Option(help: "The longest generated answer.")
    var maxTokens = 32

    @Option(help: "Rows at a time.")
    var batchSize = 16

    @Option(help: "A JSONL file to write, with a line for each row's answer.")
    var predictions: String?

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !task.isEmpty else { throw ValidationError("--task: expected a file.") }
        guard limit ?? 1 > 0 else { throw ValidationError("--limit: expected 1 or more.") }
        guard (1...65_536).contains(maxTokens) else {
            throw ValidationError("--max-tokens \(maxTokens): expected 1 to 65536.")
        }
        guard (1...1024).contains(batchSize) else {
            throw ValidationError("--batch-size \(batchSize): expected 1 to 1024.")
        }
    }

    func run() throws {
        if let predictions {
            try AtomicOutput.requireAbsent(predictions, unless: outputOptions.force)
        }
        if let columns = columns.columns { return try evaluateTables(columns) }
        Interrupt.listen()
        // Two answers that are nearly as likely are told apart as the reference tells them.
        let (model, adapter) = try model.load(common, unlessGiven: .fp32)
        var options = Evaluation.Options()
        options.measure = by
        options.prompt = prompt
        options.limit = limit
        options.maximumTokens = maxTokens
        options.batchSize = batchSize
        // All files are read before any is run: a mistake in the last one shows at once.
        let tasks = try zip(task, EvaluationTask.names(task)).map { path, name in
            try EvaluationTask(jsonl: path, name: name, model: model, options: options)
        }
        let total = tasks.reduce(0) { $0 + $1.count }
        var bar = ProgressBar("evaluate", total: total)
        let results = try Evaluation(model, options: options).run(tasks, adapter: adapter) {
            bar.update($0.done, $0.detail(after: bar.elapsed))
            return !Interrupt.isRequested
        }
        bar.finish()
        let isStopped = results.reduce(0) { $0 + $1.rows.count } < total
        if let predictions, !isStopped {
            try AtomicOutput.write(results.predictions, to: predictions)
        }
        if common.json {
            Terminal.print(results.json(isStopped: isStopped))
        } else {
            Terminal.print(results.table)
        }
        if isStopped {
            Terminal.note("Stopped before the end: the figures are of the rows done.")
            throw ExitCode(130)
        }
    }
}

extension Evaluate {
    /// An encoder's head on tables.
    private func evaluateTables(_ columns: SequenceRows.Columns) throws {
        guard model.adapter.count < 2 else {
            throw ValidationError("--adapter: a head is one adapter's; give one.")
        }
        let encoder = try TextEncoder(
            path: model.model, compute: model.compute(common, unlessGiven: .fp32))
        let classifier = try SequenceClassifier(encoder, adapter: model.adapter.first)
        let results = try task.map {
            try classifier.evaluate($0, columns: columns, maximumLength: maxLength)
        }
        if let predictions {
            let lines = results.flatMap { result in
                result.outputs.map { outputs in
                    JSON.object([
                        "task": .string(result.path),
                        "outputs": .array(outputs.map { .double(Double($0)) }),
                    ]).text() + "\n"
                }
            }
            try AtomicOutput.write(Data(lines.joined().utf8), to: predictions)
        }
        if common.json {
            Terminal.print([
                "tasks": .array(results.map(\.json)), "peak_memory_bytes": .int(peakMemoryBytes()),
            ])
            return
        }
        for result in results {
            let scores = result.scores.map {
                String(format: "%@ %.4f", $0.metric.rawValue, $0.value)
            }
            Terminal.print(
                "\(result.path): \(result.rows) rows, "
                    + String(format: "loss %.4f, ", result.loss) + scores.joined(separator: ", ")
                    + String(format: ", %.1f rows/s", Double(result.rows) / result.seconds))
        }
    }
}

extension SequenceClassifier.Evaluation {
    fileprivate var json: JSON {
        var json: JSON = [
            "task": .string(path), "rows": .int(rows), "loss": .double(loss),
            "seconds": .double(seconds),
        ]
        for score in scores where score.value.isFinite {
            json[score.metric.rawValue] = .double(score.value)
        }
        return json
    }
}

extension EvaluationMeasure: ExpressibleByArgument {}

extension Evaluation.Progress {
    fileprivate func detail(after seconds: Double) -> String {
        let rate = String(format: "%.1f rows/s", Double(done) / max(seconds, 1e-3))
        guard let correct else { return "\(task)  \(rate)" }
        return String(
            format: "%@  %.1f %%  %@", task, 100 * Double(correct) / Double(taskRows), rate)
    }
}

extension [EvaluationResult] {
    /// A line for each row of each task.
    fileprivate var predictions: Data {
        let lines = flatMap { result in
            result.rows.map { row in
                var json = row.json
                json["task"] = .string(result.task)
                return json.text() + "\n"
            }
        }
        return Data(lines.joined().utf8)
    }

    fileprivate func json(isStopped: Bool) -> JSON {
        [
            "tasks": .array(map(\.json)),
            "average_accuracy": EvaluationResult.averageAccuracy(self).map { .double($0) } ?? .null,
            "stopped": .bool(isStopped), "peak_memory_bytes": .int(peakMemoryBytes()),
        ]
    }

    /// A line a task, and the average of the accuracies.
    fileprivate var table: String {
        func percent(_ part: Double?) -> String {
            part.map { String(format: "%.2f %%", 100 * $0) } ?? ""
        }
        var lines = [["task", "measure", "rows", "result", "", "rows/s"]]
        for result in self {
            var figures = [percent(result.accuracy), ""]
            if let error = result.standardError {
                figures[1] = String(format: "± %.2f", 100 * error)
            }
            if let normalized = result.normalizedAccuracy {
                figures[1] += ", normalized \(percent(normalized))"
            }
            if let perplexity = result.perplexity {
                figures = [String(format: "%.4f", perplexity), "over \(result.tokens) tokens"]
            }
            lines.append(
                [result.task, result.measure.rawValue, "\(result.rows.count)"] + figures
                    + [String(format: "%.1f", Double(result.rows.count) / result.seconds)])
        }
        if count > 1, let average = EvaluationResult.averageAccuracy(self) {
            lines.append(["average", "", "", percent(average), "", ""])
        }
        return Format.table(lines, rightAligned: [2, 3, 5])
    }
}
