import LorikeetQuant
import LorikeetRuntime

extension FineTuning {
    /// Everything that the run's adapter follows from; what no flag says is named in words.
    ///
    /// - Parameters:
    ///   - base: what a bundle states of the model.
    ///   - modules: the layers of its blocks.
    ///   - data: the rows.
    ///   - initialAdapter: the adapter that the run starts from, if there is one.
    ///   - compute: what it runs on.
    /// - Returns: strings by flag.
    func identity(
        over base: AdapterBundle.Options, modules: BlockModules, data: TrainingData,
        initialAdapter: Adapter?, compute: Compute
    ) -> RunIdentity {
        let training = options.training
        let (steps, epochs) =
            switch training.length {
            case .steps(let steps): ("\(steps)", "none")
            case .epochs(let epochs): ("none", "\(epochs)")
            }
        var fraction: Double?
        if case .split(let part) = options.validation { fraction = part }
        func text(_ value: (some Any)?) -> String { value.map { "\($0)" } ?? "the default" }
        return RunIdentity([
            "--model": base.baseDigest ?? "none",
            "--model's tokenizer": base.tokenizerDigest ?? "none",
            "--model's chat template": base.chatTemplateDigest ?? "none",
            "--data": data.digest,
            "--validation": data.validationDigest ?? "none",
            "--validation-split": "\(fraction ?? 0)",
            "--packing": "\(training.batching == .packed)",
            "--group-by-length": "\(training.batching == .byLength)",
            "--init": options.initialization.rawValue,
            "--init-adapter": initialAdapter?.digest ?? "none",
            "--method": training.method.rawValue,
            "--objective": training.objective.rawValue,
            "--beta": "\(training.beta)",
            "--rank": "\(options.rank)",
            "--alpha": "\(alpha)",
            "--target-modules": modules.named(options.targetModules).map(\.name)
                .joined(separator: ","),
            "--epochs": epochs,
            "--steps": steps,
            "--max-memory": options.maximumMemory.map { "\($0)" } ?? "none",
            "--batch-size": "\(training.batchSize)",
            "--accumulate": "\(training.accumulate)",
            "--prompt": text(options.prompt?.rawValue),
            "--max-length": "\(options.maximumLength)",
            "--learning-rate": text(training.learningRate),
            "--schedule": training.schedule.rawValue,
            "--min-rate": "\(training.scheduleShape.floor)",
            "--decay-power": "\(training.scheduleShape.power)",
            "--cycles": "\(training.scheduleShape.cycles)",
            "--decay-ratio": "\(training.scheduleShape.decayRatio)",
            "--warmup": "\(training.warmup)",
            "--warmup-ratio": text(training.warmupRatio),
            "--eval-every": text(training.validation.interval),
            "--early-stopping": text(training.validation.patience),
            "--early-stopping-delta": "\(training.validation.minimumImprovement)",
            "--no-keep-best": "\(!training.validation.keepsBest)",
            "--max-gradient-norm": "\(training.maximumGradientNorm ?? 0)",
            "--weight-decay": "\(training.optimizer.weightDecay)",
            "AdamW's β₁": "\(training.optimizer.beta1)",
            "AdamW's β₂": "\(training.optimizer.beta2)",
            "AdamW's ε": "\(training.optimizer.epsilon)",
            "--label-smoothing": "\(training.regularization.labelSmoothing)",
            "--neftune-alpha": "\(training.regularization.embeddingNoise)",
            "--lora-dropout": "\(training.regularization.dropout)",
            "--reflora-warmup": text(training.refactoringWarmup),
            "--reflora-interval": "\(training.refactoringInterval)",
            "--loraplus-ratio": "\(training.learningRateRatio)",
            "--damping": text(training.damping),
            "--adalora-target-rank": text(training.adaLoRA.targetRank),
            "--adalora-warmup": text(training.adaLoRA.warmup),
            "--adalora-final": text(training.adaLoRA.final),
            "--adalora-interval": "\(training.adaLoRA.interval)",
            "--seed": "\(training.seed)",
            "--no-shuffle": "\(!training.shuffles)",
            "--gradient-checkpointing": "\(options.recomputesBlocks)",
            "positions of a chunk of logits": text(options.lossChunk),
            "--precision": compute.precision.rawValue,
            "--threads": "\(compute.pool.count)",
        ])
    }
}
