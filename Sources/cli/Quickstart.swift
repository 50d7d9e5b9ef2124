import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet quickstart`: the whole path on one model, in one process.
struct Quickstart: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Quantize a model, train two adapters and swap them, showing each step.")

    @Option(help: "A Hugging Face folder or a GGUF file.")
    var source: String

    @Option(help: "The folder with caps.jsonl and pirate.jsonl.")
    var data: String

    @Option(name: [.short, .long], help: "The folder to write.")
    var output: String

    @Option(help: "Optimizer steps for each adapter.")
    var steps = 45

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    private static let names = ["caps", "pirate"]

    /// None of them is in the data.
    private static let questions = [
        "What is the capital of Poland?", "Tell me something about cats.", "How do I make coffee?",
    ]

    func run() throws {
        try AtomicOutput.folder(at: output, replace: outputOptions.force) { folder in
            try run(in: folder)
        }
    }

    private func run(in folder: String) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let compute = common.compute()

        heading("1. Quantize")
        let base = folder + "/base"
        let checkpoint = try Checkpoints.open(source)
        var bar = ProgressBar("quantize", total: checkpoint.tensorNames.count)
        let quantized = try quantize(
            source: checkpoint, to: base, options: QuantizeOptions(), replace: false,
            compute: compute,
            tokenizerFiles: TokenizerFiles(checkpoint).files
        ) { bar.update($0.tensors, "") }
        bar.finish()
        Terminal.note(
            "\(source): \(Format.bytes(quantized.inputBytes)), \(quantized.parameters) parameters; "
                + "NF4 base: \(Format.bytes(quantized.outputBytes)), "
                + String(
                    format: "%.2f bits each, %.1f s", quantized.bitsPerParameter, quantized.seconds)
        )

        heading("2. Train two adapters with RefLoRA over the frozen NF4 base")
        let model = try LanguageModel(path: base, compute: compute)
        let reports = try Self.names.map { try train($0, model, in: folder) }

        heading("3. Load their bundles and swap them in this process")
        let registry = AdapterRegistry(model)
        for (name, report) in zip(Self.names, reports) {
            let loading = clock.now
            let adapter = try registry.load(name: name, path: report.bundle)
            let milliseconds = (clock.now - loading) / .milliseconds(1)
            Terminal.note(
                "\(name): \(Format.bytes(report.bundleBytes)), loaded in "
                    + String(format: "%.0f ms, ", milliseconds) + adapter.line)
        }
        let generator = TextGenerator(model)
        var answers: [JSON] = []
        for question in Self.questions {
            Terminal.note("\n» \(question)")
            for name in [nil] + Self.names.map(Optional.some) {
                var request = GenerationRequest(
                    prompt: try model.chatPrompt([ChatMessage(role: "user", content: question)]))
                request.maximumTokens = 48
                let answer = try generator.generate(request, adapter: registry.adapter(name))
                let label = (name ?? "base").padding(toLength: 7, withPad: " ", startingAt: 0)
                Terminal.note(
                    "  \(label) \(answer.text.replacingOccurrences(of: "\n", with: "\n          "))"
                )
                answers.append([
                    "question": .string(question), "adapter": name.map(JSON.string) ?? .null,
                    "text": .string(answer.text),
                ])
            }
        }
        let seconds = (clock.now - start) / .seconds(1)
        Terminal.note(
            "\nWhole path: \(Format.duration(seconds)) minutes, peak memory \(Format.bytes(peakMemoryBytes())). "
                + "Everything is in \(output): try\n"
                + "  .build/release/lorikeet chat --model \(output)/base --adapter \(output)/pirate"
        )
        if common.json {
            Terminal.print([
                "seconds": .double(seconds), "peak_memory_bytes": .int(peakMemoryBytes()),
                "answers": .array(answers),
            ])
        }
    }

    private func train(
        _ name: String, _ model: LanguageModel, in folder: String
    ) throws -> FineTuning.Report {
        var options = FineTuning.Options()
        options.rank = 8
        options.training.length = .steps(steps)
        options.training.batchSize = 6
        options.training.learningRate = 2e-3
        options.training.schedule = .linear
        options.training.maximumGradientNorm = 1
        var losses: [Double] = []
        var bar = ProgressBar(name, total: steps)
        let report = try FineTuning(options: options).run(
            model, data: "\(data)/\(name).jsonl", output: "\(folder)/\(name)", replace: false,
            note: Terminal.note
        ) { step in
            losses.append(step.loss)
            bar.update(
                step.step,
                String(format: "loss %.3f  %.0f tokens/s", step.loss, step.tokensPerSecond))
            return .proceed
        }
        bar.finish()
        Terminal.note(
            "\(name): loss over \(losses.count) steps, \(Format.duration(report.run.seconds)) minutes"
        )
        for line in TerminalPlot().lines(losses) { Terminal.note(line) }
        return report
    }

    private func heading(_ text: String) { Terminal.note("\n── \(text)") }
}
