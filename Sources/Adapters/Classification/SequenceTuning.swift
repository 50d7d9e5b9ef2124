import LorikeetQuant
public import LorikeetRuntime

/// A fine-tuning run of an encoder: from a table of texts to an adapter with a head.
///
/// The head, pooler and classifier, is trained in full precision beside the factors and lies in the adapter as
/// PEFT's `modules_to_save`.
///
/// ```swift
/// var tuning = SequenceTuning(columns: .init(texts: ["sentence"], label: "label"))
/// let report = try tuning.run(encoder, data: "train.tsv", output: "adapter", replace: false)
/// ```
public struct SequenceTuning: Sendable {
    /// The adapter's shape and how it is trained; what concerns prompts and logits is passed over.
    public var tuning = FineTuning.Options()
    /// Where texts and labels are.
    public var columns: SequenceRows.Columns
    /// What labels are.
    public var kind = SequenceTask.Kind.classification
    /// The metric that decides which adapter is the best; nil for the loss.
    public var metric: TaskMetric?

    /// A run that reads these columns.
    public init(columns: SequenceRows.Columns) { self.columns = columns }

    /// Trains an adapter over `encoder` on the rows of `data`.
    ///
    /// The folder `output` is as `FineTuning` writes it, with task.json, which names the classes.
    ///
    /// - Parameters: as of `FineTuning.run`; `data` is a table, as `SequenceRows` reads it.
    /// - Returns: what was made.
    /// - Throws: as `FineTuning.run`, and `.unsupported` for an option that encoders do not have.
    public func run(
        _ encoder: TextEncoder, data: String, output: String, replace: Bool,
        note: (String) -> Void = { _ in },
        progress: (StepMetrics) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> FineTuning.Report {
        let preparation = try prepare(
            encoder, data: data, output: output, replace: replace, note: note)
        let (tuning, trainer) = (preparation.tuning, preparation.trainer)
        let (options, modules) = (tuning.options, encoder.model.configuration.modules)
        var base = AdapterBundle.Options()
        base.baseDigest = try BaseDigest.of(encoder.checkpoint)
        base.tokenizerDigest = try TokenizerFiles(encoder.checkpoint).vocabulary.map {
            Digest.sha256(Array($0))
        }
        let job = FineTuning.Job(
            trainer: trainer, adapter: preparation.adapter, plan: preparation.plan,
            data: preparation.report, base: base,
            identity: tuning.identity(
                over: base, modules: modules, data: preparation.data, initialAdapter: nil,
                compute: encoder.compute
            ).adding([
                "--task": kind.rawValue, "--text-columns": columns.texts.joined(separator: ","),
                "--label-column": columns.label, "--metric": metric?.rawValue ?? "none",
            ]),
            compute: encoder.compute, task: preparation.task
        ) { rank in
            var saved = tuning.configuration(
                rank: rank, targets: .pattern(pattern(modules.named(options.targetModules))),
                base: encoder.checkpoint)
            saved.taskType = "SEQ_CLS"
            saved.modulesToSave = ["classifier", "pooler"]
            return saved
        }
        return try tuning.run(
            job, output: output, replace: replace, note: note, progress: progress
        ) {
            EncoderPass(
                model: encoder.model, compute: encoder.compute,
                maximumTokens: preparation.passTokens,
                purpose: .training(recomputesBlocks: options.recomputesBlocks),
                regularization: options.training.passRegularization)
        }
    }

    /// What `run` would do with the same arguments; writes nothing.
    ///
    /// - Throws: what `run` would before its first step, but for what lies in checkpoints.
    public func preview(
        _ encoder: TextEncoder, data: String, output: String, replace: Bool
    ) throws -> FineTuning.Preview {
        let preparation = try prepare(
            encoder, data: data, output: output, replace: replace, note: { _ in })
        return FineTuning.Preview(
            preparation.trainer, preparation.adapter, data: preparation.report,
            plan: preparation.plan)
    }

    /// What a run works with, read and checked before its first step.
    private struct Preparation {
        /// The run, in passes that fit into the memory it may take.
        let tuning: FineTuning
        /// The most tokens that go through the model together.
        let passTokens: Int
        /// The peak that is planned for.
        let plan: MemoryPlan
        let data: TrainingData
        let report: DataReport
        let task: SequenceTask
        let trainer: Trainer
        let adapter: TrainableAdapter
    }

    /// Reads what a run works with; writes nothing.
    private func prepare(
        _ encoder: TextEncoder, data: String, output: String, replace: Bool,
        note: (String) -> Void
    ) throws -> Preparation {
        try AtomicOutput.requireAbsent(output, unless: replace)
        try requireSupported()
        let configuration = encoder.model.configuration
        try configuration.modules.require(tuning.targetModules, source: "--target-modules")
        let length = min(tuning.maximumLength, configuration.maximumPositions)
        let (table, data) = try read(encoder, data, maximumLength: length)
        var options = tuning
        options.training.validation.measure = ValidationOptions.Measure(
            task: table.task, metric: metric)
        let adapter = try start(
            FineTuning(options: options), encoder, outputs: table.task.labels.count)
        let shape = MemoryPlan.Data(data, maximumLength: length)
        func plan(_ tuning: FineTuning) throws -> MemoryPlan {
            try self.plan(tuning.options, encoder, adapter, data: shape)
        }
        let tuning = try FineTuning(options: options).fitted(vocabulary: nil, plan: plan)
        let trainer = try Trainer(
            data.rows, validation: data.validation, options: tuning.options.training,
            maximumLength: length)
        var report = data.report
        report.steps = DataReport.Steps(trainer.order)
        for line in report.lines { note(line) }
        let fitted = try plan(tuning)
        if options.maximumMemory != nil { note(tuning.description(of: fitted)) }
        return Preparation(
            tuning: tuning, passTokens: shape.passTokens(tuning.options.training), plan: fitted,
            data: data, report: report, task: table.task, trainer: trainer, adapter: adapter)
    }

    private func requireSupported() throws {
        func require(_ holds: Bool, _ flag: String, _ what: String) throws {
            guard !holds else { return }
            throw LorikeetError(
                .unsupported, flag, "\(what) with --task \(kind.rawValue)",
                advice: "Leave it out.")
        }
        let training = tuning.training
        // These have optimizers of their own, which know of factors alone.
        try require(
            ![.adalora, .loraRITE].contains(training.method), "--method", "cannot train a head")
        try require(
            [.kaiming, .gaussian, .orthogonal].contains(tuning.initialization), "--init",
            "is not there")
        try require(tuning.initialAdapter == nil, "--init-adapter", "is not there")
        try require(training.objective == .likelihood, "--objective", "has no other")
        try require(training.regularization.embeddingNoise == 0, "--neftune-alpha", "is not there")
        try require(
            metric.map(TaskMetric.all(of: kind).contains) ?? true, "--metric",
            "is not one of \(TaskMetric.all(of: kind).map(\.rawValue).joined(separator: ", ")):")
    }

    private func read(
        _ encoder: TextEncoder, _ path: String, maximumLength: Int
    ) throws -> (SequenceRows, TrainingData) {
        let table = try SequenceRows(
            path, columns: columns, kind: kind, encoder: encoder, maximumLength: maximumLength)
        guard kind == .regression || table.task.labels.count > 1 else {
            throw LorikeetError(
                .malformed, path, "all rows have the same label", expected: "2 classes or more",
                got: table.task.labels.joined(separator: ", "))
        }
        var other: SequenceRows?
        if case .file(let path) = tuning.validation {
            other = try SequenceRows(
                path, columns: columns, kind: kind, labels: table.task.labels, encoder: encoder,
                maximumLength: maximumLength)
        }
        return (
            table,
            try TrainingData(
                table, validation: tuning.validation, other: other, seed: tuning.training.seed)
        )
    }

    /// The factors as `--init` begins them, and the head: the checkpoint's pooler where it has one, and a
    /// classifier drawn as transformers draws new layers.
    private func start(
        _ tuning: FineTuning, _ encoder: TextEncoder, outputs: Int
    ) throws -> TrainableAdapter {
        let options = tuning.options
        let (method, seed) = (options.training.method, options.training.seed)
        let (model, configuration) = (encoder.model, encoder.model.configuration)
        let modules = configuration.modules
        // Another sequence than the factors' start and the order of rows.
        var random = SeededGenerator(seed: seed ^ 0x6865_6164)
        let head = configuration.headTensors(labels: outputs).map { tensor in
            let values = Buffer<Float>(tensor.shape.reduce(1, *))
            if let own = model.headTensors[tensor.name], own.count == values.count {
                _ = values.elements.update(from: own.elements)
            } else if !tensor.isBias {
                // initializer_range, 0.02 in every configuration of these models.
                for i in 0..<values.count { values[i] = Float(0.02 * random.normal()) }
            }
            return TrainableAdapter.Parameter(
                name: tensor.name, shape: tensor.shape, values: values)
        }
        let adapter = TrainableAdapter(
            shapes: TrainableAdapter.Shape.shapes(
                of: modules.named(options.targetModules), in: modules),
            rank: options.rank, scale: method.scale(rank: options.rank, alpha: tuning.alpha),
            norms: method.trainsMagnitudes
                ? RowNorms(on: encoder.compute) { model.weight(at: $0) } : nil,
            learnsA: method.learnsA, head: head)
        switch options.initialization {
        case .gaussian: adapter.startNormally(seed: seed)
        case .orthogonal: try adapter.startOrthogonally(seed: seed)
        default: adapter.startUniformly(seed: seed)
        }
        adapter.startMagnitudes()
        return adapter
    }

    /// A pattern for PEFT that matches these layers and no pooler: several layers are called `dense`.
    private func pattern(_ modules: [LinearModule]) -> String {
        func escaped(_ text: String) -> String { text.replacing(".", with: "\\.") }
        let blocks = modules.first?.blocks ?? ""
        return "\(escaped(blocks))\\.\\d+\\."
            + "(\(modules.map { escaped($0.path) }.joined(separator: "|")))"
    }

    /// What the peak of a run with `options` will be made of.
    private func plan(
        _ options: FineTuning.Options, _ encoder: TextEncoder, _ adapter: TrainableAdapter,
        data: MemoryPlan.Data
    ) throws -> MemoryPlan {
        let dimensions = TrainingPass.Dimensions(
            tokens: data.passTokens(options.training), longestRow: data.longestRow,
            rank: options.rank,
            modules: encoder.model.configuration.modules.named(options.targetModules),
            recomputesBlocks: options.recomputesBlocks, precision: encoder.compute.precision,
            threads: encoder.compute.pool.count,
            dropsInputs: options.training.regularization.dropout > 0,
            scalesOutputs: options.training.method.trainsMagnitudes)
        let trained = adapter.parameterCount * MemoryLayout<Float>.stride
        let keepsBest = options.validation != nil && options.training.validation.keepsBest
        return MemoryPlan(
            [
                .weights: encoder.model.weightMemory,
                .embedding: encoder.model.embeddingMemory(
                    ofTokens: data.tokens?.count ?? 0),
                .factors: (keepsBest ? 2 : 1) * trained, .gradients: trained,
                .moments: 2 * trained,
                .activations: EncoderPass.memory(encoder.model.configuration, dimensions),
                .packing: AdapterBundle.packingMemory(factors: trained), .data: data.memory,
                .tokenizer: Tokenizer.memory(
                    fileBytes: try TokenizerFiles.byteCount(encoder.checkpoint)),
                .program: MemoryPlan.program,
            ],
            pass: [.activations])
    }
}
