import Foundation
import LorikeetQuant
import LorikeetRuntime

extension FineTuning {
    /// What a run trains, and what its files say beside the factors.
    struct Job {
        let trainer: Trainer
        let adapter: TrainableAdapter
        /// The peak that is planned for.
        let plan: MemoryPlan
        let data: DataReport
        /// What a bundle states of the base.
        let base: AdapterBundle.Options
        let identity: RunIdentity
        let compute: Compute
        /// What an encoder's head tells; nil for a decoder.
        var task: SequenceTask?
        /// What adapter_config.json says of terms of this rank.
        let configuration: (_ rank: Int) -> AdapterConfiguration
    }

    /// Runs `job` and writes its folder.
    ///
    /// - pass: made once all is checked; it goes when training ends, for its activations would add to what
    ///   packing takes.
    func run<Pass: LossAndGradients>(
        _ job: Job, output: String, replace: Bool, note: (String) -> Void,
        progress: (StepMetrics) throws -> Trainer.Disposition, pass: () -> Pass
    ) throws -> Report {
        let (trainer, adapter) = (job.trainer, job.adapter)
        var memory = MemoryWatch(job.plan, limit: options.maximumMemory)
        var state = trainer.beginning(adapter)
        let checkpoints = try options.checkpoints.map {
            try CheckpointFolder(
                Self.checkpointFolder(of: output), options: $0, identity: job.identity,
                replace: replace)
        }
        let earlierMetrics = try checkpoints?.restore(
            &state, totalSteps: trainer.totalSteps, note: note)

        let name = (output as NSString).lastPathComponent
        var report: Report?
        // A killed run leaves nothing outside the folder of its checkpoints.
        let unfinished = checkpoints.map { $0.path + "/output" }
        try AtomicOutput.folder(at: output, replace: replace, by: unfinished) { folder in
            let metrics = try MetricsWriter(
                path: folder + "/metrics.jsonl",
                events: options.tensorBoard.map {
                    try EventFile(in: $0, after: state.summary.steps)
                })
            if let earlierMetrics { try metrics.append(earlierMetrics) }
            if let configuration = options.configuration {
                try AtomicOutput.write(Array(configuration.utf8), to: folder + "/run.yaml")
            }
            let run = try trainer.run(
                pass(), from: state, compute: job.compute, metrics: metrics,
                checkpoints: checkpoints
            ) { step in
                memory.check(note)
                return try progress(step)
            }
            if let checkpoints, run.isStopped {
                throw Interruption(
                    steps: run.steps, totalSteps: trainer.totalSteps,
                    checkpoint: checkpoints.place(of: run.steps))
            }
            try writeAdapter(of: job, into: folder)
            let bundle = "\(name).\(AdapterBundle.pathExtension)"
            let manifest = try AdapterBundle.pack(
                folder, to: "\(folder)/\(bundle)",
                options: bundleOptions(name, job, run, curve: RunMetrics(path: folder)))
            report = Report(
                run: run,
                adapter: "\(options.training.method.rawValue), rank \(options.rank), "
                    + "\(manifest.modules) modules, \(manifest.parameters) parameters",
                trainableParameters: adapter.parameterCount, bundle: "\(output)/\(bundle)",
                bundleBytes: try MappedFile(path: "\(folder)/\(bundle)").bytes.count,
                data: job.data, predictedPeakMemoryBytes: memory.plan.peak,
                peakMemoryBytes: memory.check(note))
            if options.writesReport {
                try report?.writePage(into: folder, name: name, configuration: job.identity)
            }
        }
        checkpoints?.removeCheckpoints()
        guard let report else { preconditionFailure("a folder that was written without a run") }
        return report
    }

    private func writeAdapter(of job: Job, into folder: String) throws {
        let adapter = job.adapter
        var (configuration, deltas) = (job.configuration(adapter.modelRank), adapter.deltas)
        if options.training.method == .adalora {
            configuration.leaveOutUnusedRanks(of: &deltas)
        }
        let tensors = adapter.head.map {
            ($0.name, SavedTensor(shape: $0.shape, values: $0.values))
        }
        try Adapters.writePeftFiles(
            into: folder, configuration: configuration, deltas: deltas,
            magnitudes: adapter.magnitudes, tensors: Dictionary(uniqueKeysWithValues: tensors))
        if let task = job.task {
            try AtomicOutput.write(
                task.json.data(pretty: true), to: "\(folder)/\(SequenceTask.fileName)")
        }
    }

    // Points of the loss that a bundle carries: what a small chart shows.
    private static let curvePoints = 100

    private func bundleOptions(
        _ name: String, _ job: Job, _ run: Trainer.Summary, curve: RunMetrics
    ) -> AdapterBundle.Options {
        var options = job.base
        options.name = name
        options.method = self.options.training.method.rawValue
        var training: JSON = [
            "steps": .int(run.steps), "tokens": .int(run.tokens),
            "first_loss": .double(run.firstLoss), "last_loss": .double(run.lastLoss),
            "adapter_step": .int(run.adapterStep),
            "seed": .int(Int(truncatingIfNeeded: self.options.training.seed)),
        ]
        if let validation = run.validation {
            training["best_validation_loss"] = .double(validation.bestLoss)
            training["last_validation_loss"] = .double(validation.lastLoss)
            if let score = validation.bestScore { training["best_score"] = .double(score) }
        }
        for (key, value) in job.task?.json.object ?? [:] { training[key] = value }
        let losses = Smoothing(ofRun: run.steps)(curve.points("loss"))
        training["loss"] = .array(
            losses.sampled(to: Self.curvePoints).map { [.int(Int($0.x)), .double($0.y)] })
        options.training = training
        return options
    }
}
