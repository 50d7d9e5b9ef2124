import LorikeetQuant
import LorikeetRuntime

extension FineTuning {
    /// What a run works with, read and checked before its first step.
    struct Preparation {
        /// The run, in passes that fit into the memory it may take.
        let tuning: FineTuning
        /// The peak that is planned for.
        let plan: MemoryPlan
        let data: TrainingData
        let report: DataReport
        let trainer: Trainer
        let initial: Adapter?
        let adapter: TrainableAdapter
    }

    /// Reads the rows.
    func read(_ model: LanguageModel, data path: String) throws -> TrainingData {
        if options.training.objective == .directPreference {
            guard options.validation == nil else {
                throw LorikeetError(
                    .unsupported, "--validation", "preferences are not validated with",
                    advice: "Leave it out with --objective dpo.")
            }
            return try TrainingData(
                preferences: path, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
                maximumLength: maximumLength(for: model))
        }
        return try TrainingData(
            jsonl: path, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
            prompt: options.prompt, maximumLength: maximumLength(for: model),
            pool: model.compute.pool, validation: options.validation, seed: options.training.seed)
    }

    private func maximumLength(for model: LanguageModel) -> Int {
        min(options.maximumLength, model.model.configuration.maximumPositions)
    }

    /// Reads what a run works with; writes nothing.
    func prepare(
        _ model: LanguageModel, data path: String, output: String, replace: Bool,
        note: (String) -> Void = { _ in }
    ) throws -> Preparation {
        try AtomicOutput.requireAbsent(output, unless: replace)
        let data = try read(model, data: path)
        let length = maximumLength(for: model)
        let base = try MemoryPlan.Base(model)
        let shape = MemoryPlan.Data(data, options: options.training, maximumLength: length)
        let tuning = try fitted(base, data: shape)
        let plan = tuning.memoryPlan(base, data: shape)
        let trainer = try Trainer(
            data.rows, validation: data.validation, options: tuning.options.training,
            maximumLength: length)
        var report = data.report
        report.steps = DataReport.Steps(trainer.order)
        for line in report.lines { note(line) }
        if options.maximumMemory != nil { note(tuning.description(of: plan)) }
        let initial = try initialAdapter(over: model)
        return Preparation(
            tuning: tuning, plan: plan, data: data, report: report, trainer: trainer,
            initial: initial,
            adapter: try start(over: model, rows: data.rows, from: initial, note: note))
    }
}
