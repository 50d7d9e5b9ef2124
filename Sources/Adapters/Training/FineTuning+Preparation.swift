package import LorikeetQuant
package import LorikeetRuntime

extension FineTuning {
    /// What a run works with, read and checked before its first step.
    struct Preparation {
        /// The run, in passes that fit into the memory it may take.
        let tuning: FineTuning
        /// The most tokens that go through the model together.
        let passTokens: Int
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
        try read(
            path, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
            maximumLength: maximumLength(for: model), pool: model.compute.pool)
    }

    /// Reads the rows for a model of which there is no more than the tokenizer and the template.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - tokenizer: the model's.
    ///   - chatTemplate: the model's.
    ///   - maximumLength: tokens per row; what is past them is cut off.
    ///   - pool: the threads to tokenize on; nil for the caller's own.
    /// - Returns: the rows, pairs for an objective that compares.
    /// - Throws: what `TrainingData` throws, and for rows to validate with where they cannot be.
    package func read(
        _ path: String, tokenizer: Tokenizer, chatTemplate: ChatTemplate?, maximumLength: Int,
        pool: ThreadPool? = nil
    ) throws -> TrainingData {
        guard options.training.objective == .directPreference else {
            return try TrainingData(
                jsonl: path, tokenizer: tokenizer, chatTemplate: chatTemplate,
                prompt: options.prompt, maximumLength: maximumLength, pool: pool,
                validation: options.validation, seed: options.training.seed)
        }
        guard options.validation == nil else {
            throw LorikeetError(
                .unsupported, "--validation", "preferences are not validated with",
                advice: "Leave it out with --objective dpo.")
        }
        return try TrainingData(
            preferences: path, tokenizer: tokenizer, chatTemplate: chatTemplate,
            maximumLength: maximumLength)
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
        try model.model.configuration.modules.require(
            options.targetModules, source: "--target-modules")
        let data = try read(model, data: path)
        let length = maximumLength(for: model)
        let base = try MemoryPlan.Base(model)
        let shape = MemoryPlan.Data(data, maximumLength: length)
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
            tuning: tuning, passTokens: shape.passTokens(tuning.options.training), plan: plan,
            data: data, report: report, trainer: trainer,
            initial: initial,
            adapter: try start(over: model, rows: data.rows, from: initial, note: note))
    }
}
