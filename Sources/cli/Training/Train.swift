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
            {"prompt","chosen","rejected"}.
            The output folder holds a PEFT adapter, a bundle of it, and metrics.jsonl with a row a step.
            Ctrl-C ends the run after the current step and keeps what it learned: as the output or, with \
            --save-every, as a checkpoint from which the same command with --resume goes on.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @OptionGroup(title: "Data") var dataOptions: DataOptions
    @OptionGroup(title: "Method") var methodOptions: MethodOptions
    @OptionGroup(title: "Objective") var objectiveOptions: ObjectiveOptions
    @OptionGroup(title: "Steps") var stepOptions: StepOptions
    @OptionGroup(title: "Regularization") var regularizationOptions: RegularizationOptions
    @OptionGroup(title: "Checkpoints") var checkpointOptions: CheckpointOptions
    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard precision.precision != .int8 else {
            throw ValidationError("--precision int8: gradients need int16 or fp32.")
        }
    }

    func run() throws {
        let model = try LanguageModel(path: model, compute: common.compute(precision))
        if checkpointOptions.saveEvery == nil {
            Interrupt.listen()
        } else {
            Interrupt.listen(SIGTERM)
        }
        var bar: ProgressBar?
        let report: FineTuning.Report
        do {
            report = try FineTuning(options: options()).run(
                model, data: dataOptions.data, output: output, replace: outputOptions.force,
                note: Terminal.note
            ) { step in
                if bar == nil {
                    bar = ProgressBar("train", total: step.totalSteps, after: step.step - 1)
                }
                bar?.update(
                    step.step,
                    String(format: "loss %.4f  %.0f tokens/s", step.loss, step.tokensPerSecond))
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
        for note in report.notes { Terminal.note(note) }
        if common.json {
            Terminal.print(report.json(peakMemoryBytes: peakMemoryBytes()))
        } else {
            Terminal.print(
                """
                \(output): \(report.adapter), \(report.run.steps) steps, \
                loss \(String(format: "%.4f → %.4f", report.run.firstLoss, report.run.lastLoss)), \
                \(String(format: "%.0f", Double(report.run.tokens) / report.run.seconds)) tokens/s, \
                peak memory \(Format.bytes(peakMemoryBytes()))
                \(report.bundle): \(Format.bytes(report.bundleBytes))
                """)
        }
    }

    private func options() throws -> FineTuning.Options {
        var options = FineTuning.Options()
        dataOptions.apply(to: &options)
        try methodOptions.apply(to: &options)
        objectiveOptions.apply(to: &options)
        stepOptions.apply(to: &options)
        regularizationOptions.apply(to: &options)
        checkpointOptions.apply(to: &options)
        return options
    }
}

extension FineTuning.Report {
    fileprivate func json(peakMemoryBytes: Int) -> JSON {
        [
            "steps": .int(run.steps), "stopped": .bool(run.isStopped),
            "first_loss": .double(run.firstLoss), "last_loss": .double(run.lastLoss),
            "tokens": .int(run.tokens), "seconds": .double(run.seconds),
            "tokens_per_second": .double(Double(run.tokens) / run.seconds),
            "trainable_parameters": .int(trainableParameters), "bundle": .string(bundle),
            "bundle_bytes": .int(bundleBytes), "peak_memory_bytes": .int(peakMemoryBytes),
        ]
    }
}
