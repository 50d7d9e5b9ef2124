public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// How `quantize` calibrates.
struct CalibrationOptions: ParsableArguments {
    @Option(
        help: """
            Calibrate on this text, or .jsonl rows as train takes them; may be repeated. default: a text of \
            Lorikeet's own.
            """)
    var calibrate: [String] = []

    @Option(
        help: """
            fast: each block's absmax (without --calibrate); scales: scales of least weighted error; gptq: GPTQ over \
            those (with --calibrate).
            """)
    var quality: Calibration.Quality?

    @Option(help: "Windows of the text, in all files together.")
    var calibrationWindows = 80

    @Option(help: "Tokens of a window.")
    var calibrationContext = 512

    @Flag(
        help: """
            Also train an adapter that brings the result's predictions nearer to the source's, by RefLoRA on the \
            calibration text, into recovery.
            """)
    var recover = false

    @Option(help: "Rank of that adapter.")
    var recoverRank = Recovery().rank

    @Option(help: "Its passes over the text.")
    var recoverEpochs = Recovery().epochs

    @Option(help: "Its peak learning rate.")
    var recoverLearningRate = Recovery().learningRate

    @OptionGroup var precision: PrecisionOptions

    func validate() throws {
        if calibrate.isEmpty, let quality, quality != .fast {
            throw ValidationError(
                "--quality \(quality.rawValue) needs a text: --calibrate FILE, or --calibrate default."
            )
        }
        if !calibrate.isEmpty, quality == .fast {
            throw ValidationError("--quality fast is absmax, which --calibrate has no part in.")
        }
        guard !recover || !calibrate.isEmpty else {
            throw ValidationError(
                "--recover needs a text: --calibrate FILE, or --calibrate default.")
        }
        guard (1...1024).contains(recoverRank) else {
            throw ValidationError("--recover-rank: expected 1 to 1024.")
        }
        guard (1...1000).contains(recoverEpochs) else {
            throw ValidationError("--recover-epochs: expected 1 to 1000.")
        }
        guard recoverLearningRate > 0, recoverLearningRate.isFinite else {
            throw ValidationError("--recover-learning-rate: expected more than 0.")
        }
        guard (1...65_536).contains(calibrationWindows) else {
            throw ValidationError("--calibration-windows: expected 1 to 65536.")
        }
        guard (2...65_536).contains(calibrationContext) else {
            throw ValidationError("--calibration-context: expected 2 to 65536.")
        }
    }

    /// What the passes compute on.
    func compute(_ common: CommonOptions) -> Compute { common.compute(precision) }

    /// The calibration asked for, its text read; nil for none.
    func calibration(_ files: TokenizerFiles) throws -> Calibration? {
        guard !calibrate.isEmpty else { return nil }
        return Calibration(
            quality ?? .gptq,
            text: try CalibrationText(
                files: calibrate, tokenizer: files.tokenizer(), chatTemplate: files.chatTemplate(),
                count: calibrationWindows, length: calibrationContext))
    }
}

extension Calibration.Quality: ExpressibleByArgument {}

extension CalibrationOptions {
    /// The adapter that is to be trained; nil for none.
    var recovery: Recovery? {
        guard recover else { return nil }
        var recovery = Recovery()
        (recovery.rank, recovery.epochs) = (recoverRank, recoverEpochs)
        recovery.learningRate = recoverLearningRate
        return recovery
    }
}

extension Recovery {
    /// Trains under a progress bar; Ctrl-C ends it, and the base stays without an adapter.
    func write(
        source: any Checkpoint, base: String, text: CalibrationText, compute: Compute
    ) throws -> Report {
        var bar: ProgressBar?
        func show(_ title: String, _ done: Int, _ total: Int, _ detail: String) {
            if bar == nil { bar = ProgressBar(title, total: total) }
            bar?.update(done, detail)
            if done == total {
                bar?.finish()
                bar = nil
            }
        }
        return try write(source: source, base: base, text: text, compute: compute) {
            guard !Interrupt.isRequested else { throw ExitCode(130) }
            switch $0 {
            case .reference(let done, let total): show("reference", done, total, "blocks")
            case .step(let step): show("recover", step.step, step.totalSteps, step.line)
            }
        }
    }
}

extension Recovery.Report {
    /// A line for the terminal.
    func line(in output: String) -> String {
        "\(output)/\(Recovery.folderName): KL divergence from the source "
            + String(format: "%.4f → %.4f", firstDivergence, lastDivergence)
            + " nats a token in \(steps) steps, \(Format.duration(seconds))"
    }

    var json: JSON {
        [
            "first_divergence": .double(firstDivergence),
            "last_divergence": .double(lastDivergence),
            "steps": .int(steps), "tokens": .int(tokens), "seconds": .double(seconds),
            "parameters": .int(parameters),
        ]
    }
}

extension Calibration {
    /// Quantizes under a progress bar; Ctrl-C ends it and leaves nothing behind.
    func write(
        _ source: any Checkpoint, to output: String, options: QuantizeOptions, replace: Bool,
        compute: Compute, tokenizerFiles: [String: Data]
    ) throws -> (QuantizeReport, CalibrationReport?) {
        Interrupt.listen()
        var bar: ProgressBar?
        let written = try quantize(
            source, to: output, options: options, replace: replace, compute: compute,
            tokenizerFiles: tokenizerFiles
        ) { progress in
            guard !Interrupt.isRequested else { throw ExitCode(130) }
            if bar == nil { bar = ProgressBar(quality.rawValue, total: progress.total) }
            let share = Double(progress.done) / Double(progress.total)
            let rate = share * Double(text.tokenCount) / max(bar?.elapsed ?? 0, 1e-3)
            bar?.update(
                progress.done,
                "block \(progress.block)  " + String(format: "%.0f tokens/s", rate))
        }
        bar?.finish()
        return written
    }
}

extension CalibrationReport {
    /// A line for the terminal.
    func line(in output: String) -> String {
        let errors = layers.map(\.outputError)
        let mean = errors.reduce(0, +) / Double(max(errors.count, 1))
        return
            "\(output)/\(Calibration.reportName): \(quality.rawValue) on \(windows) windows, \(tokens) tokens, "
            + String(format: "in %.1f s; mean output error %.3f %%", seconds, 100 * mean)
    }
}
