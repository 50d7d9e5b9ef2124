import Foundation
import LorikeetQuant
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
        /// The rank, r.
        public var rank = 16
        /// alpha; nil for twice the rank.
        public var alpha: Double?
        /// The layers of each block that are adapted.
        public var targetModules: [String] = []
        /// How instructions are put; nil for as chats where the model has a template.
        public var prompt: PromptStyle?
        /// Longer rows are cut.
        public var maximumLength = 512
        /// What is validated with; nil for nothing.
        public var validation: TrainingData.Validation?
        /// Whether blocks are run forward again for their gradient instead of keeping activations.
        public var recomputesBlocks = false
        /// Positions of which there are logits at once; nil for as many as keep these under 16 MiB.
        public var lossChunk: Int?
        /// The most memory that a run may plan for, in bytes; nil for no limit.
        ///
        /// Where it would plan for more, it goes in smaller passes, as `fitted` says.
        public var maximumMemory: Int?
        /// How the factors begin.
        public var initialization = Initialization.kaiming
        /// A PEFT folder or bundle to start from instead.
        public var initialAdapter: String?
        /// When the run is saved, to be taken up should it be cut short; nil for never.
        public var checkpoints: CheckpointFolder.Options?
        /// The flags that say the run, kept beside its result as run.yaml; nil where there are none.
        public var configuration: String?
        /// Whether the output holds report.html, the run's curves as a page.
        public var writesReport = true
        /// A folder where TensorBoard reads the run's scalars while it goes on; nil for none.
        public var tensorBoard: String?
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
        /// What it learned from.
        public var data: DataReport
        /// The peak of memory that was planned for, in bytes.
        public var predictedPeakMemoryBytes: Int
        /// The process's peak of memory so far, in bytes.
        public var peakMemoryBytes: Int
    }

    /// A run was stopped before its end, and saved.
    public struct Interruption: Error {
        /// Steps done.
        public var steps: Int
        /// Steps of the whole run.
        public var totalSteps: Int
        /// The checkpoint's folder.
        public var checkpoint: String
    }

    /// The options.
    public let options: Options

    /// A run with `options`.
    public init(options: Options = Options()) { self.options = options }

    /// Trains an adapter over `model` on the rows of `data`.
    ///
    /// The folder `output` appears when the run ends: adapter_config.json, adapter_model.safetensors,
    /// metrics.jsonl, run.yaml, report.html and the bundle, named after the folder. A run with checkpoints works in
    /// `output`.checkpoints, which goes when it ends, and stays, but for an empty one, when it fails.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - data: a JSONL file, as `TrainingData` reads it, or `PreferenceData` for DPO.
    ///   - output: the folder to write.
    ///   - replace: whether an existing `output` is replaced.
    ///   - note: told in a line what there is to learn from, of damaged checkpoints, where the run goes
    ///     on, how it stays within `maximumMemory`, and should it not.
    ///   - progress: called after each step; may stop the run, which keeps what was learned: as the output
    ///     or, with checkpoints, in one of these.
    /// - Returns: what was made.
    /// - Throws: `LorikeetError` for bad data, options out of range, too little memory, a loss that is not finite, an
    ///   output that exists, a checkpoint of another run; `Interruption` for a run with checkpoints that was
    ///   stopped. No output is written then.
    public func run(
        _ model: LanguageModel, data: String, output: String, replace: Bool,
        note: (String) -> Void = { _ in },
        progress: (StepMetrics) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> Report {
        let preparation = try prepare(
            model, data: data, output: output, replace: replace, note: note)
        return try preparation.tuning.run(
            model, preparation, output: output, replace: replace, note: note, progress: progress)
    }

    // The run itself, in passes that fit.
    private func run(
        _ model: LanguageModel, _ preparation: Preparation, output: String, replace: Bool,
        note: (String) -> Void, progress: (StepMetrics) throws -> Trainer.Disposition
    ) throws -> Report {
        // Reads the whole base, so it is done once.
        var base = AdapterBundle.Options()
        try base.state(model)
        let modules = model.model.configuration.modules
        let job = Job(
            trainer: preparation.trainer, adapter: preparation.adapter, plan: preparation.plan,
            data: preparation.report, base: base,
            identity: identity(
                over: base, modules: modules, data: preparation.data,
                initialAdapter: preparation.initial, compute: model.compute),
            compute: model.compute
        ) { rank in
            configuration(
                rank: rank, targets: .list(modules.named(options.targetModules).map(\.name)),
                base: model.checkpoint)
        }
        return try run(job, output: output, replace: replace, note: note, progress: progress) {
            TrainingPass(
                model: model.model, compute: model.compute,
                maximumTokens: preparation.passTokens,
                recomputesBlocks: options.recomputesBlocks, lossChunk: options.lossChunk,
                regularization: options.training.passRegularization)
        }
    }

    /// Where the checkpoints of a run that writes `output` lie.
    static func checkpointFolder(of output: String) -> String {
        (output.count > 1 && output.hasSuffix("/") ? String(output.dropLast()) : output)
            + ".checkpoints"
    }

    var alpha: Double { options.alpha ?? Double(2 * options.rank) }

    /// The saved adapter's, of which the rank may be another than that of training: its scale is the same.
    func configuration(
        rank: Int, targets: AdapterConfiguration.ModuleNames, base: any Checkpoint
    ) -> AdapterConfiguration {
        let usesRSLoRA = options.training.method == .rslora
        let growth = Double(rank) / Double(options.rank)
        return AdapterConfiguration(
            rank: rank, alpha: alpha * (usesRSLoRA ? growth.squareRoot() : growth),
            targetModules: targets, usesRSLoRA: usesRSLoRA,
            usesDoRA: options.training.method.trainsMagnitudes,
            dropout: options.training.regularization.dropout,
            baseModel: (base.path as NSString).lastPathComponent)
    }
}

extension AdapterBundle.Options {
    /// States the base that the adapter belongs to: its digest, its tokenizer's, its chat template's.
    ///
    /// - Throws: what reading the base throws.
    public mutating func state(_ model: LanguageModel) throws {
        let vocabulary = try TokenizerFiles(model.checkpoint).vocabulary
        baseDigest = try model.baseDigest()
        tokenizerDigest = vocabulary.map { Digest.sha256(Array($0)) }
        chatTemplateDigest = model.chatTemplate.map { Digest.sha256(Array($0.source.utf8)) }
    }
}
