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
    var calibrationWindows = 128

    @Option(help: "Tokens of a window.")
    var calibrationContext = 512

    @OptionGroup var precision: PrecisionOptions

    func validate() throws {
        if calibrate.isEmpty, let quality, quality != .fast {
            throw ValidationError(
                "--quality \(quality.rawValue) needs a text: --calibrate FILE, or --calibrate default.")
        }
        if !calibrate.isEmpty, quality == .fast {
            throw ValidationError("--quality fast is absmax, which --calibrate has no part in.")
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
        return "\(output)/\(Calibration.reportName): \(quality.rawValue) on \(windows) windows, \(tokens) tokens, "
            + String(format: "in %.1f s; mean output error %.3f %%", seconds, 100 * mean)
    }
}
