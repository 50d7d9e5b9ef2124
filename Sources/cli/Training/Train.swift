import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet train --model DIR --data FILE.jsonl --output DIR`.
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fine-tune an adapter over a frozen base.",
        discussion: """
            A line of the data is one of {"messages":[…]} (loss on the assistant's turns), {"prompt","completion"}, \
            {"instruction","input","output"}, {"text"}, {"input_ids":[…]}; with --objective dpo \
            {"prompt","chosen","rejected"}. With --task the model is an encoder, and the data a table of texts.
            The output folder holds a PEFT adapter, a bundle of it, metrics.jsonl with a row a step, report.html, and \
            run.yaml with all flags, which --config takes.
            Ctrl-C ends the run after the current step and keeps what it learned: as the output or, with \
            --save-every, as a checkpoint from which the same command with --resume goes on.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @OptionGroup(title: "Data") var dataOptions: DataOptions
    @OptionGroup(title: "Task of an encoder") var taskOptions: TaskOptions
    @OptionGroup(title: "Method") var methodOptions: MethodOptions
    @OptionGroup(title: "Objective") var objectiveOptions: ObjectiveOptions
    @OptionGroup(title: "Steps") var stepOptions: StepOptions
    @OptionGroup(title: "Learning rate") var scheduleOptions: ScheduleOptions
    @OptionGroup(title: "Held-out rows") var heldOutOptions: HeldOutOptions
    @OptionGroup(title: "Memory") var memoryOptions: MemoryOptions
    @OptionGroup(title: "Regularization") var regularizationOptions: RegularizationOptions
    @OptionGroup(title: "Checkpoints") var checkpointOptions: CheckpointOptions
    @OptionGroup(title: "Logging") var loggingOptions: LoggingOptions
    @OptionGroup var configuration: ConfigurationOptions

    @Flag(help: "Check everything, say what the run would do, and write nothing.")
    var dryRun = false

    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard dataOptions.data != nil else { throw ValidationError("Missing --data FILE.jsonl.") }
        try precision.requireGradients()
    }

    func run() throws {
        var options = try options()
        let data = dataOptions.data ?? ""
        let compute = common.compute(precision)
        options.configuration = try effectiveConfiguration(threads: compute.pool.count)
        if let kind = taskOptions.task, let columns = taskOptions.columns.columns {
            var tuning = SequenceTuning(columns: columns)
            (tuning.tuning, tuning.kind, tuning.metric) = (options, kind, taskOptions.metric)
            let encoder = try TextEncoder(path: model, compute: compute)
            guard !dryRun else {
                return try show(
                    tuning.preview(
                        encoder, data: data, output: output, replace: outputOptions.force))
            }
            return try train {
                try tuning.run(
                    encoder, data: data, output: output, replace: outputOptions.force,
                    note: Terminal.note, progress: $0)
            }
        }
        try requireRoom(for: options)
        let model = try LanguageModel(path: model, compute: compute)
        guard !dryRun else {
            return try show(
                FineTuning(options: options).preview(
                    model, data: data, output: output, replace: outputOptions.force))
        }
        try train {
            try FineTuning(options: options).run(
                model, data: data, output: output, replace: outputOptions.force,
                note: Terminal.note, progress: $0)
        }
    }

    /// Shows how far `run` has come, stops it when that is asked for, and prints what it made.
    private func train(
        _ run: ((StepMetrics) throws -> Trainer.Disposition) throws -> FineTuning.Report
    ) throws {
        if checkpointOptions.saveEvery == nil {
            Interrupt.listen()
        } else {
            Interrupt.listen(SIGTERM)
        }
        var bar: ProgressBar?
        var measured: ValidationMetrics?
        let report: FineTuning.Report
        do {
            report = try run { step in
                if bar == nil {
                    bar = ProgressBar("train", total: step.totalSteps, after: step.step - 1)
                }
                measured = step.validation ?? measured
                bar?.update(step.step, step.line + (measured.map { "  " + $0.line } ?? ""))
                if let evaluation = step.validation {
                    bar?.note("step \(step.step): \(evaluation.line)")
                }
                return Interrupt.isRequested ? .stop : .proceed
            }
        } catch let stop as FineTuning.Interruption {
            bar?.finish()
            Terminal.note(
                "Stopped after step \(stop.steps) of \(stop.totalSteps) and saved in "
                    + "\(stop.checkpoint). The same command with --resume goes on from there.")
            throw ExitCode(130)
        }
        bar?.finish()
        if common.json {
            Terminal.print(report.json)
        } else {
            Terminal.print(
                """
                \(output): \(report.adapter), \(report.run.steps) steps, \
                loss \(String(format: "%.4f → %.4f", report.run.firstLoss, report.run.lastLoss)), \
                \(String(format: "%.0f", Double(report.run.tokens) / report.run.seconds)) tokens/s, \
                peak memory \(Format.bytes(report.peakMemoryBytes)) \
                (predicted \(Format.bytes(report.predictedPeakMemoryBytes)))\(report.run.validationLine)
                \(report.bundle): \(Format.bytes(report.bundleBytes))
                """)
        }
    }

    /// What does not fit into the memory it may take is refused before the weights are read.
    private func requireRoom(for options: FineTuning.Options) throws {
        guard options.maximumMemory != nil else { return }
        let checkpoint = try Checkpoints.open(model)
        let base = try MemoryPlan.Base(
            checkpoint, precision: precision.precision ?? .int16, threads: common.threadCount)
        _ = try FineTuning(options: options).fitted(
            base, data: dataOptions.shape(for: checkpoint, options))
    }

    private func show(_ preview: FineTuning.Preview) {
        if common.json {
            Terminal.print(preview.json)
        } else {
            for line in preview.lines { Terminal.print(line) }
        }
    }

    private func options() throws -> FineTuning.Options {
        var options = FineTuning.Options()
        dataOptions.apply(to: &options)
        try methodOptions.apply(to: &options)
        objectiveOptions.apply(to: &options)
        stepOptions.apply(to: &options)
        scheduleOptions.apply(to: &options)
        heldOutOptions.apply(to: &options)
        memoryOptions.apply(to: &options)
        regularizationOptions.apply(to: &options)
        checkpointOptions.apply(to: &options)
        loggingOptions.apply(to: &options)
        return options
    }
}

extension StepMetrics {
    /// What a progress line says of a step.
    var line: String {
        String(
            format: "loss %.4f  rate %.2e  %.0f tokens/s", loss, learningRate, tokensPerSecond)
    }
}

extension ValidationMetrics {
    /// What a progress line says of an evaluation.
    fileprivate var line: String {
        String(format: "validation loss %.4f", loss)
            + scores.map { String(format: "  %@ %.4f", $0.metric.rawValue, $0.value) }.joined()
            + (isBest ? " (best)" : "")
    }
}

extension Trainer.Summary {
    /// What the last line says of the evaluations, if there were any.
    fileprivate var validationLine: String {
        guard let validation else { return "" }
        let best =
            validation.bestScore.map { String(format: ", metric %.4f (highest)", $0) }
            ?? String(format: ", validation loss %.4f (lowest)", validation.bestLoss)
        return best + " after step \(validation.bestStep), adapter of step \(adapterStep)"
            + (isStoppedEarly ? ", stopped early" : "")
    }
}

extension FineTuning.Report {
    fileprivate var json: JSON {
        var json: JSON = [
            "steps": .int(run.steps), "stopped": .bool(run.isStopped),
            "first_loss": .double(run.firstLoss), "last_loss": .double(run.lastLoss),
            "tokens": .int(run.tokens), "seconds": .double(run.seconds),
            "tokens_per_second": .double(Double(run.tokens) / run.seconds),
            "trainable_parameters": .int(trainableParameters), "bundle": .string(bundle),
            "bundle_bytes": .int(bundleBytes), "peak_memory_bytes": .int(peakMemoryBytes),
            "data": data.json,
            "adapter_step": .int(run.adapterStep),
            "predicted_peak_memory_bytes": .int(predictedPeakMemoryBytes),
        ]
        if let validation = run.validation {
            json["best_validation_loss"] = .double(validation.bestLoss)
            if let score = validation.bestScore { json["best_score"] = .double(score) }
            json["best_step"] = .int(validation.bestStep)
            json["last_validation_loss"] = .double(validation.lastLoss)
            json["stopped_early"] = .bool(run.isStoppedEarly)
        }
        return json
    }
}
