import ArgumentParser
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet plan --model DIR [--data FILE.jsonl]`.
struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say how much memory a training run would take, and for what.",
        discussion: """
            Takes the flags of train and reads no weights. Without --data rows are taken to have --max-length tokens, \
            of the whole vocabulary.
            """)

    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @OptionGroup(title: "Data") var dataOptions: DataOptions
    @OptionGroup(title: "Method") var methodOptions: MethodOptions
    @OptionGroup(title: "Steps") var stepOptions: StepOptions
    @OptionGroup(title: "Objective") var objectiveOptions: ObjectiveOptions
    @OptionGroup(title: "Regularization") var regularizationOptions: RegularizationOptions
    @OptionGroup(title: "Memory") var memoryOptions: MemoryOptions
    @OptionGroup var configuration: ConfigurationOptions
    @OptionGroup var precision: PrecisionOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { try precision.requireGradients() }

    func run() throws {
        let checkpoint = try Checkpoints.open(model)
        let base = try MemoryPlan.Base(
            checkpoint, precision: precision.precision ?? .int16, threads: common.threadCount)
        let options = try options()
        try base.model.configuration.modules.require(
            options.targetModules, source: "--target-modules")
        let data = try dataOptions.shape(for: checkpoint, options)
        let tuning = try FineTuning(options: options).fitted(base, data: data)
        let plan = tuning.memoryPlan(base, data: data)
        if common.json {
            Terminal.print(json(plan, tuning.options, data))
            return
        }
        let parts = MemoryPlan.Part.allCases.compactMap { part in
            plan.parts[part].map { (name(part), Format.bytes($0)) }
        }
        for (name, bytes) in parts + [("peak", Format.bytes(plan.peak))] {
            Terminal.print(
                name.padded(to: 12) + String(repeating: " ", count: max(0, 10 - bytes.count))
                    + bytes)
        }
        Terminal.print(
            "\(tuning.description(of: plan)); rows of \(data.longestRow) tokens at most")
    }

    private func options() throws -> FineTuning.Options {
        var options = FineTuning.Options()
        dataOptions.apply(to: &options)
        try methodOptions.apply(to: &options)
        stepOptions.apply(to: &options)
        objectiveOptions.apply(to: &options)
        regularizationOptions.apply(to: &options)
        memoryOptions.apply(to: &options)
        return options
    }

    private func name(_ part: MemoryPlan.Part) -> String {
        part.rawValue.replacing("_", with: "-")
    }

    private func json(
        _ plan: MemoryPlan, _ options: FineTuning.Options, _ data: MemoryPlan.Data
    ) -> JSON {
        var parts: JSON = [:]
        for part in MemoryPlan.Part.allCases {
            parts[part.rawValue] = plan.parts[part].map { .int($0) }
        }
        return [
            "peak_memory_bytes": .int(plan.peak), "parts": parts,
            "batch_size": .int(options.training.batchSize),
            "accumulate": .int(options.training.accumulate),
            "gradient_checkpointing": .bool(options.recomputesBlocks),
            "loss_chunk": options.lossChunk.map { .int($0) } ?? .null,
            "longest_row": .int(data.longestRow),
        ]
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
