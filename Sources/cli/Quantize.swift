public import ArgumentParser
import Foundation
import LorikeetAdapters
public import LorikeetQuant
import LorikeetRuntime

/// `lorikeet quantize SOURCE --output DIR`.
struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Quantize a checkpoint to a bitsandbytes 4-bit Hugging Face folder.",
        discussion: """
            All matrices but embeddings and the output projection are quantized; norms and what --skip names stay.
            One tensor is in memory at a time. transformers with bitsandbytes loads the result.
            With --calibrate scales and codes are chosen by what the layers read on a text: the same format, less lost.
            """)

    @Argument(help: "A Hugging Face folder or a GGUF file.")
    var source: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @Option(help: "nf4 or fp4.")
    var format = QuantizationFormat.nf4

    @Option(help: "Weights that share a scale: 64, 128, … 4096.")
    var blockSize = 64

    @Flag(help: "Keep the scales in fp32 instead of quantizing them to 8 bits.")
    var noDoubleQuantization = false

    @Option(help: "Leave tensors whose name contains this unquantized; may be repeated.")
    var skip: [String] = []

    @Option(
        help: "Type of what stays unquantized; default: the source's, bf16 from a quantized GGUF.")
    var dtype: FloatType?

    @Option(
        help:
            "Also write an adapter of this rank that gives back the most of what is lost (LoftQ), into loftq_init."
    )
    var loftqRank: Int?

    @Option(help: "LoftQ: alpha of that adapter; default: twice the rank.")
    var loftqAlpha: Double?

    @OptionGroup var calibration: CalibrationOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    /// The float types by their names on the command line.
    enum FloatType: String, ExpressibleByArgument, CaseIterable {
        case fp32, bf16, fp16

        var tensorType: TensorType {
            switch self {
            case .fp32: .f32
            case .bf16: .bf16
            case .fp16: .f16
            }
        }
    }

    func validate() throws {
        guard QuantizationConfiguration.blockSizes.contains(blockSize) else {
            let sizes = QuantizationConfiguration.blockSizes.map(String.init).joined(
                separator: ", ")
            throw ValidationError("--block-size \(blockSize): expected one of \(sizes).")
        }
        guard loftqRank.map((1...1024).contains) ?? (loftqAlpha == nil) else {
            throw ValidationError("--loftq-rank: expected 1 to 1024.")
        }
        guard loftqAlpha.map({ $0 > 0 && $0.isFinite }) ?? true else {
            throw ValidationError("--loftq-alpha: expected more than 0.")
        }
    }

    func run() throws {
        let checkpoint = try Checkpoints.open(source)
        let options = QuantizeOptions(
            configuration: QuantizationConfiguration(
                format: format, blockSize: blockSize, doubleQuantization: !noDoubleQuantization),
            skip: skip, dtype: dtype?.tensorType)
        let files = try TokenizerFiles(checkpoint)
        let calibration = try calibration.calibration(files)
        let (report, layers) = try write(checkpoint, options, files, calibration)
        let recovery = try calibration.flatMap { calibration in
            try self.calibration.recovery?.write(
                source: checkpoint, base: output, text: calibration.text,
                compute: self.calibration.compute(common))
        }
        let loftQ = try loftqRank.map { rank in
            var bar: ProgressBar?
            let report = try LoftQ(rank: rank, alpha: loftqAlpha).write(
                source: checkpoint, base: output, compute: common.compute()
            ) { done, total in
                if bar == nil { bar = ProgressBar("loftq", total: total) }
                bar?.update(done, "")
            }
            bar?.finish()
            return report
        }
        if common.json {
            var json = report.json(peakMemoryBytes: peakMemoryBytes())
            json["loftq_recovered"] = loftQ.map { .double($0.recovered) }
            json["calibration"] = layers?.json
            json["recovery"] = recovery?.json
            Terminal.print(json)
        } else {
            Terminal.print(
                """
                \(output): \(report.quantizedParameters) of \(report.parameters) parameters in \(format.rawValue), \
                \(String(format: "%.2f", report.bitsPerParameter)) bits each
                \(Format.bytes(report.inputBytes)) → \(Format.bytes(report.outputBytes)) \
                in \(String(format: "%.1f", report.seconds)) s, peak memory \(Format.bytes(peakMemoryBytes()))
                """)
            if let layers { Terminal.print(layers.line(in: output)) }
            if let recovery { Terminal.print(recovery.line(in: output)) }
            if let loftQ {
                Terminal.print(
                    "\(output)/\(LoftQ.folderName): gives back "
                        + String(format: "%.1f %%", 100 * loftQ.recovered)
                        + " of the squared error of \(loftQ.modules) layers")
            }
        }
    }
}

extension Quantize {
    private func write(
        _ checkpoint: any Checkpoint, _ options: QuantizeOptions, _ files: TokenizerFiles,
        _ calibration: Calibration?
    ) throws -> (QuantizeReport, CalibrationReport?) {
        if let calibration {
            return try calibration.write(
                checkpoint, to: output, options: options, replace: outputOptions.force,
                compute: self.calibration.compute(common), tokenizerFiles: files.files)
        }
        var bar = ProgressBar("quantize", total: checkpoint.tensorNames.count)
        let report = try quantize(
            source: checkpoint, to: output, options: options, replace: outputOptions.force,
            compute: common.compute(), tokenizerFiles: files.files
        ) { progress in
            bar.update(progress.tensors, progress.name)
        }
        bar.finish()
        return (report, nil)
    }
}

extension QuantizationFormat: ExpressibleByArgument {}

extension QuantizeReport {
    fileprivate func json(peakMemoryBytes: Int) -> JSON {
        [
            "parameters": .int(parameters), "quantized_parameters": .int(quantizedParameters),
            "bits_per_parameter": .double(bitsPerParameter), "input_bytes": .int(inputBytes),
            "output_bytes": .int(outputBytes), "seconds": .double(seconds),
            "peak_memory_bytes": .int(peakMemoryBytes),
        ]
    }
}
