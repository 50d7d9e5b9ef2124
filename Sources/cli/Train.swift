public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet train --model DIR --data FILE.jsonl --output DIR`.
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fine-tune an adapter over a frozen base.",
        discussion: """
            A line of the data is one of {"messages":[…]} (loss on the assistant's turns), {"prompt","completion"}, \
            {"instruction","input","output"}, {"text"}, {"input_ids":[…]}.
            The output folder holds a PEFT adapter, a bundle of it, and metrics.jsonl with a row a step.
            Ctrl-C ends the run after the current step and keeps what it learned: as the output or, with \
            --save-every, as a checkpoint from which the same command with --resume goes on.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(help: "A JSONL file.")
    var data: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @Option(help: "lora, rslora, loraplus, reflora or reflora-s.")
    var method = MethodName.reflora

    @Option(help: "Rank of the factors.")
    var rank = 16

    @Option(help: "The low-rank term is scaled by alpha / rank; default: twice the rank.")
    var alpha: Double?

    @Option(
        help: "Layers to adapt, separated by commas; default: all seven linear layers of a block.")
    var targetModules = LinearModule.allCases.map(\.rawValue).joined(separator: ",")

    @Option(help: "Passes over the data; default: 1.")
    var epochs: Int?

    @Option(help: "Optimizer steps, instead of --epochs.")
    var steps: Int?

    @Option(help: "Rows in one pass through the model.")
    var batchSize = 4

    @Option(help: "Passes in one optimizer step.")
    var accumulate = 1

    @Option(help: "Longer rows are cut to this many tokens.")
    var maxLength = 512

    @Option(help: "Peak learning rate; default: the method's.")
    var learningRate: Double?

    @Option(help: "linear, cosine or constant.")
    var schedule = LearningRateSchedule.constant

    @Option(help: "Steps over which the learning rate rises from zero.")
    var warmup = 0

    @Option(help: "Gradients are scaled down to this norm; 0 for no clipping.")
    var maxGradientNorm = 0.0

    @Option(help: "AdamW's decoupled weight decay.")
    var weightDecay = 0.0

    @Option(
        help: "RefLoRA: plain LoRA steps at the start; default: a sixth of the run, 100 at most.")
    var refloraWarmup: Int?

    @Option(help: "RefLoRA: refactor at every how many steps.")
    var refloraInterval = 1

    @Option(help: "Seed of the start and of the order of rows.")
    var seed: UInt64 = 0

    @Option(help: "Start from this PEFT folder or bundle instead of at random.")
    var initAdapter: String?

    @Option(
        help:
            "Save the run at every so many steps, so that it can be resumed should it be cut short."
    )
    var saveEvery: Int?

    @Option(help: "Checkpoints to keep.")
    var keep = 2

    @Flag(help: "Go on from the newest checkpoint, if there is one; all other flags stay the same.")
    var resume = false

    @Flag(help: "Take the rows in the order of the file.")
    var noShuffle = false

    @Flag(help: "Keep less in memory: run each block forward once more when its gradient is due.")
    var gradientCheckpointing = false

    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard epochs == nil || steps == nil else {
            throw ValidationError("Give --epochs or --steps, not both.")
        }
        guard (1...1024).contains(rank) else {
            throw ValidationError("--rank \(rank): expected 1 to 1024.")
        }
        guard alpha.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw ValidationError("--alpha: expected more than 0.")
        }
        guard maxLength >= 2 else {
            throw ValidationError("--max-length \(maxLength): expected 2 or more.")
        }
        guard maxGradientNorm >= 0, weightDecay >= 0 else {
            throw ValidationError("--max-gradient-norm and --weight-decay: expected 0 or more.")
        }
        guard saveEvery ?? 1 > 0, keep > 0 else {
            throw ValidationError("--save-every and --keep: expected 1 or more.")
        }
        guard saveEvery != nil || !resume else {
            throw ValidationError("--resume: give the run's --save-every too.")
        }
        guard precision.precision != .int8 else {
            throw ValidationError("--precision int8: gradients need int16 or fp32.")
        }
        _ = try modules()
    }

    func run() throws {
        let model = try LanguageModel(path: model, compute: common.compute(precision))
        if saveEvery == nil { Interrupt.listen() } else { Interrupt.listen(SIGTERM) }
        var bar: ProgressBar?
        let report: FineTuning.Report
        do {
            report = try FineTuning(options: options()).run(
                model, data: data, output: output, replace: outputOptions.force,
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

    private func modules() throws -> [LinearModule] {
        try targetModules.split(separator: ",").map { name in
            guard let module = LinearModule(rawValue: name.trimmingCharacters(in: .whitespaces))
            else {
                let names = LinearModule.allCases.map(\.rawValue).joined(separator: ", ")
                throw ValidationError("--target-modules: '\(name)' is none of \(names).")
            }
            return module
        }
    }

    private func options() throws -> FineTuning.Options {
        var options = FineTuning.Options()
        options.rank = rank
        options.alpha = alpha
        options.targetModules = try modules()
        options.maximumLength = maxLength
        options.recomputesBlocks = gradientCheckpointing
        options.initialAdapter = initAdapter
        options.checkpoints = saveEvery.map {
            var checkpoints = CheckpointFolder.Options(every: $0)
            checkpoints.count = keep
            checkpoints.resumes = resume
            return checkpoints
        }
        options.training.method = method
        options.training.length = steps.map { .steps($0) } ?? .epochs(epochs ?? 1)
        options.training.batchSize = batchSize
        options.training.accumulate = accumulate
        options.training.learningRate = learningRate
        options.training.schedule = schedule
        options.training.warmup = warmup
        options.training.maximumGradientNorm = maxGradientNorm > 0 ? maxGradientNorm : nil
        options.training.optimizer.weightDecay = weightDecay
        options.training.refactoringWarmup = refloraWarmup
        options.training.refactoringInterval = refloraInterval
        options.training.seed = seed
        options.training.shuffles = !noShuffle
        return options
    }
}

extension MethodName: ExpressibleByArgument {}
extension LearningRateSchedule: ExpressibleByArgument {}

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
