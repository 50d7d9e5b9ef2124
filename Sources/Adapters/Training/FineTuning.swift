public import LorikeetRuntime

/// A fine-tuning run from a data file to an adapter's folder.
///
/// ```swift
/// let report = try FineTuning().run(model, data: "rows.jsonl", output: "adapter") { step in
///     print(step.loss)
///     return .proceed
/// }
/// ```
public struct FineTuning: Sendable {
    /// The adapter's shape and how it is trained.
    public struct Options: Sendable {
        /// r
        public var rank = 16
        /// alpha; nil for twice the rank.
        public var alpha: Double?
        /// The layers of each block that are adapted.
        public var targetModules = LinearModule.allCases
        /// Longer rows are cut.
        public var maximumLength = 512
        /// Whether blocks are run forward again for their gradient instead of keeping activations.
        public var recomputesBlocks = false
        /// A PEFT folder or bundle to start from; nil for a random start.
        public var initialAdapter: String?
        /// The method, the schedule, the optimizer.
        public var training = TrainingOptions()

        /// The defaults.
        public init() {}
    }

    /// What a run made.
    public struct Report: Sendable {
        /// Steps, losses, duration.
        public var run: Trainer.Summary
        /// The adapter in a line.
        public var adapter: String
        /// How many numbers were trained.
        public var trainableParameters: Int
        /// The bundle's path.
        public var bundle: String
        /// The bundle's size.
        public var bundleBytes: Int
        /// What a user should know: rows cut or skipped.
        public var notes: [String]
    }

    /// The options.
    public let options: Options

    /// A run with `options`.
    public init(options: Options = Options()) { self.options = options }

    /// Trains an adapter over `model` on the rows of `data`.
    ///
    /// The folder `output` appears when the run ends: adapter_config.json, adapter_model.safetensors,
    /// metrics.jsonl and the bundle, named after the folder.
    ///
    /// - Parameters:
    ///   - replace: whether an existing `output` is replaced.
    ///   - progress: called after each step; may stop the run, which keeps what was learned.
    /// - Throws: `LorikeetError` for bad data, options out of range, a loss that is not finite, an
    ///   output that exists; nothing is written then.
    public func run(
        _ model: LanguageModel, data: String, output: String, replace: Bool,
        progress: (StepMetrics) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> Report {
        try AtomicOutput.requireAbsent(output, unless: replace)
        let data = try TrainingData(
            jsonl: data, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
            maximumLength: min(options.maximumLength, model.model.configuration.maximumPositions))
        let trainer = try Trainer(data.rows, options: options.training)
        let adapter = try start(model)
        let longest = data.rows.map(\.inputIDs.count).max() ?? 0
        let pass = TrainingPass(
            model: model.model, compute: model.compute,
            maximumTokens: options.training.batchSize * longest,
            recomputesBlocks: options.recomputesBlocks)
        return Report()
    }
}
