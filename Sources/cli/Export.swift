import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet export --adapter PATH --format gguf-lora|peft`, `lorikeet export --model DIR --format gguf|safetensors`.
struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write an adapter or a model in a format of another program.",
        discussion: """
            gguf-lora: the adapter as llama.cpp loads it over a GGUF of the same base, which --model names.
            peft: the adapter, a bundle or not, as a plain PEFT folder.
            gguf: the model, dequantized, as llama.cpp loads it, with the adapter merged into it if there is one.
            safetensors: the same as a plain Hugging Face folder.
            """)

    /// What can be written.
    enum Target: String, CaseIterable, ExpressibleByArgument {
        case ggufLoRA = "gguf-lora"
        case peft, gguf, safetensors

        /// Whether it is an adapter that is written, not a model.
        var isAdapter: Bool { self == .ggufLoRA || self == .peft }
    }

    @Option(help: "gguf-lora or peft, an adapter; gguf or safetensors, a model.")
    var format: Target

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String?

    @Option(name: [.short, .long], help: "A PEFT folder or a bundle.")
    var adapter: String?

    @Option(name: [.short, .long], help: "The file or folder to write.")
    var output: String

    @Option(
        help: """
            Type of the floats, fp32, bf16 or fp16; default: config.json's for a model, fp32 for gguf-lora, the \
            adapter's own for peft.
            """)
    var dtype: Quantize.FloatType?

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard adapter != nil || !format.isAdapter else {
            throw ValidationError("--format \(format.rawValue) needs --adapter.")
        }
        guard model != nil || format == .peft else {
            throw ValidationError("--format \(format.rawValue) needs --model.")
        }
        guard format != .peft || dtype != .fp16 else {
            throw ValidationError("--format peft: --dtype is fp32 or bf16.")
        }
    }

    func run() throws {
        let compute = common.compute()
        switch format {
        case .peft: try exportPeftFolder()
        case .ggufLoRA: try exportAdapter(compute)
        case .gguf, .safetensors: try exportModel(compute)
        }
    }

    private func exportPeftFolder() throws {
        let type: FactorType? = dtype.map { $0 == .fp32 ? .fp32 : .bf16 }
        let written = try Adapters.writePeftFolder(
            of: adapter ?? "", to: output, type: type, replace: outputOptions.force)
        report(written)
    }

    private func exportAdapter(_ compute: Compute) throws {
        let base = try Checkpoints.open(model ?? "")
        let adapter = try read(over: base)
        try adapter.writeGGUF(
            to: output, over: base, type: dtype?.tensorType ?? .f32, replace: outputOptions.force,
            on: compute)
        report(adapter)
    }

    private func exportModel(_ compute: Compute) throws {
        let base = try Checkpoints.open(model ?? "")
        let merged = try adapter.map { _ in
            MergedCheckpoint(base, try read(over: base), on: compute)
        }
        let source = merged ?? base
        let type = dtype?.tensorType ?? .floats(of: base.configuration)
        var bar = ProgressBar("export", total: source.tensorNames.count)
        let written =
            format == .gguf
            ? try exportGGUF(
                source, from: base, to: output, type: type, replace: outputOptions.force,
                compute: compute
            ) { bar.update($0.tensors, $0.name) }
            : try exportFloatFolder(
                source, to: output, type: type, replace: outputOptions.force, compute: compute,
                tokenizerFiles: TokenizerFiles(base).files
            ) { bar.update($0.tensors, $0.name) }
        bar.finish()
        if common.json {
            Terminal.print([
                "output": .string(output), "format": .string(format.rawValue),
                "tensors": .int(written.tensors), "parameters": .int(written.parameters),
                "output_bytes": .int(written.bytes), "type": .string(type.rawValue),
                "peak_memory_bytes": .int(peakMemoryBytes()),
            ])
        } else {
            Terminal.print(
                "\(output): \(written.parameters) parameters in \(written.tensors) tensors, "
                    + "\(type.rawValue), \(Format.bytes(written.bytes)), "
                    + "peak memory \(Format.bytes(peakMemoryBytes()))")
        }
    }

    private func read(over base: any Checkpoint) throws -> Adapter {
        try Adapters.read(
            adapter ?? "", for: ModelConfiguration(base), baseDigest: { try BaseDigest.of(base) })
    }

    private func report(_ adapter: Adapter) {
        if common.json {
            Terminal.print([
                "output": .string(output), "format": .string(format.rawValue),
                "modules": .int(adapter.moduleCount), "parameters": .int(adapter.parameterCount),
            ])
        } else {
            Terminal.print("\(output): \(adapter.line)")
        }
    }
}
