import Foundation
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
        public var targetModules = LinearModule.allCases
        /// Longer rows are cut.
        public var maximumLength = 512
        /// Whether blocks are run forward again for their gradient instead of keeping activations.
        public var recomputesBlocks = false
        /// A PEFT folder or bundle to start from; nil for a random start.
        public var initialAdapter: String?
        /// When the run is saved, to be taken up should it be cut short; nil for never.
        public var checkpoints: CheckpointFolder.Options?
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
    /// metrics.jsonl and the bundle, named after the folder. A run with checkpoints works in
    /// `output`.checkpoints, which goes when it ends, and stays, but for an empty one, when it fails.
    ///
    /// - Parameters:
    ///   - model: the base.
    ///   - data: a JSONL file, as `TrainingData` reads it, or `PreferenceData` for DPO.
    ///   - output: the folder to write.
    ///   - replace: whether an existing `output` is replaced.
    ///   - note: told in a line of damaged checkpoints, and where the run goes on.
    ///   - progress: called after each step; may stop the run, which keeps what was learned: as the output
    ///     or, with checkpoints, in one of these.
    /// - Returns: what was made.
    /// - Throws: `LorikeetError` for bad data, options out of range, a loss that is not finite, an
    ///   output that exists, a checkpoint of another run; `Interruption` for a run with checkpoints that was
    ///   stopped. No output is written then.
    public func run(
        _ model: LanguageModel, data: String, output: String, replace: Bool,
        note: (String) -> Void = { _ in },
        progress: (StepMetrics) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> Report {
        try AtomicOutput.requireAbsent(output, unless: replace)
        let (rows, notes) = try read(data, for: model)
        let trainer = try Trainer(rows, options: options.training)
        // B = 0 is the usual start: as an adapter it changes nothing, and that is fine here.
        let initial = try options.initialAdapter.map {
            try Adapters.load($0, over: model, allowNoEffect: true)
        }
        let adapter = try start(over: model, from: initial)
        var state = trainer.beginning(adapter)
        let checkpoints = try options.checkpoints.map {
            try CheckpointFolder(
                Self.checkpointFolder(of: output), options: $0,
                identity: identity(model, data: data, initialAdapter: initial), replace: replace)
        }
        let earlierMetrics = try checkpoints?.restore(
            &state, totalSteps: trainer.totalSteps, note: note)
        let longest = rows.map(\.inputIDs.count).max() ?? 0

        let name = (output as NSString).lastPathComponent
        var report: Report?
        // A killed run leaves nothing outside the folder of its checkpoints.
        let unfinished = checkpoints.map { $0.path + "/output" }
        try AtomicOutput.folder(at: output, replace: replace, by: unfinished) { folder in
            let metrics = try MetricsWriter(path: folder + "/metrics.jsonl")
            if let earlierMetrics { try metrics.append(earlierMetrics) }
            // The pass goes with the call, for its activations would add to what packing takes.
            let run = try trainer.run(
                TrainingPass(
                    model: model.model, compute: model.compute,
                    maximumTokens: options.training.batchSize
                        * options.training.makeObjective().rowsPerExample * longest,
                    recomputesBlocks: options.recomputesBlocks,
                    regularization: options.training.passRegularization),
                from: state, compute: model.compute, metrics: metrics, checkpoints: checkpoints,
                progress: progress)
            if let checkpoints, run.isStopped {
                throw Interruption(
                    steps: run.steps, totalSteps: trainer.totalSteps,
                    checkpoint: checkpoints.place(of: run.steps))
            }
            try Adapters.writePeftFiles(
                into: folder, configuration: configuration(model), deltas: adapter.deltas)
            let bundle = "\(name).\(AdapterBundle.pathExtension)"
            let manifest = try AdapterBundle.pack(
                folder, to: "\(folder)/\(bundle)", options: bundleOptions(name, model, run))
            report = Report(
                run: run,
                adapter: "\(options.training.method.rawValue), rank \(options.rank), "
                    + "\(manifest.modules) modules, \(manifest.parameters) parameters",
                trainableParameters: adapter.parameterCount, bundle: "\(output)/\(bundle)",
                bundleBytes: try MappedFile(path: "\(folder)/\(bundle)").bytes.count,
                notes: notes)
        }
        checkpoints?.removeCheckpoints()
        guard let report else { preconditionFailure("a folder that was written without a run") }
        return report
    }

    /// Where the checkpoints of a run that writes `output` lie.
    static func checkpointFolder(of output: String) -> String {
        (output.count > 1 && output.hasSuffix("/") ? String(output.dropLast()) : output)
            + ".checkpoints"
    }

    var alpha: Double { options.alpha ?? Double(2 * options.rank) }

    private func read(
        _ data: String, for model: LanguageModel
    ) throws -> (rows: [TrainingRow], notes: [String]) {
        let length = min(options.maximumLength, model.model.configuration.maximumPositions)
        switch options.training.objective {
        case .likelihood:
            let data = try TrainingData(
                jsonl: data, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
                maximumLength: length)
            return (data.rows, data.notes)
        case .directPreference:
            let data = try PreferenceData(
                jsonl: data, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
                maximumLength: length)
            return (data.rows, data.notes)
        }
    }

    private func configuration(_ model: LanguageModel) -> AdapterConfiguration {
        AdapterConfiguration(
            rank: options.rank, alpha: alpha,
            targetModules: .list(options.targetModules.map(\.rawValue)),
            usesRSLoRA: options.training.method == .rslora,
            dropout: options.training.regularization.dropout,
            baseModel: (model.checkpoint.path as NSString).lastPathComponent)
    }

    private func start(
        over model: LanguageModel, from initial: Adapter?
    ) throws -> TrainableAdapter {
        let shapes = TrainableAdapter.Shape.shapes(of: options.targetModules, in: model.model)
        let scale = options.training.method.scale(rank: options.rank, alpha: alpha)
        guard let initial, let path = options.initialAdapter else {
            return TrainableAdapter(
                shapes: shapes, rank: options.rank, scale: scale, seed: options.training.seed)
        }
        return try TrainableAdapter(
            shapes: shapes, rank: options.rank, scale: scale, copying: initial, name: path)
    }

    private func bundleOptions(
        _ name: String, _ model: LanguageModel, _ run: Trainer.Summary
    ) throws -> AdapterBundle.Options {
        var options = AdapterBundle.Options()
        options.name = name
        options.method = self.options.training.method.rawValue
        try options.state(model)
        options.training = [
            "steps": .int(run.steps), "tokens": .int(run.tokens),
            "first_loss": .double(run.firstLoss), "last_loss": .double(run.lastLoss),
            "seed": .int(Int(truncatingIfNeeded: self.options.training.seed)),
        ]
        return options
    }
}

extension TrainableAdapter {
    /// The factors by layer.
    fileprivate var deltas: [ModulePath: LowRankDelta] {
        Dictionary(uniqueKeysWithValues: modules.map { ($0.path, $0.delta) })
    }
}

extension AdapterBundle.Options {
    /// States the base that the adapter belongs to: its digest, its tokenizer's, its chat template's.
    ///
    /// - Throws: what reading the base throws.
    public mutating func state(_ model: LanguageModel) throws {
        let files = try TokenizerFiles(model.checkpoint).files
        baseDigest = try model.baseDigest()
        tokenizerDigest = files["tokenizer.json"].map { Digest.sha256(Array($0)) }
        chatTemplateDigest = files["chat_template.jinja"].map { Digest.sha256(Array($0)) }
    }
}
