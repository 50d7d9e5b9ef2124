import LorikeetQuant
import LorikeetRuntime

extension FineTuning {
    /// Everything that the run's adapter follows from; what no flag says is named in words.
    ///
    /// Reads the whole base and the whole data file.
    func identity(
        _ model: LanguageModel, data: String, initialAdapter: Adapter?
    ) throws -> RunIdentity {
        var base = AdapterBundle.Options()
        try base.state(model)
        let training = options.training
        let (steps, epochs) =
            switch training.length {
            case .steps(let steps): ("\(steps)", "none")
            case .epochs(let epochs): ("none", "\(epochs)")
            }
        func text(_ value: (some Any)?) -> String { value.map { "\($0)" } ?? "the default" }
        return RunIdentity([
            "--model": base.baseDigest ?? "none",
            "--model's tokenizer": base.tokenizerDigest ?? "none",
            "--model's chat template": base.chatTemplateDigest ?? "none",
            "--data": Digest.sha256(of: try MappedFile(path: data)),
            "--init-adapter": initialAdapter?.digest ?? "none",
            "--method": training.method.rawValue,
            "--objective": training.objective.rawValue,
            "--beta": "\(training.beta)",
            "--rank": "\(options.rank)",
            "--alpha": "\(alpha)",
            "--target-modules": options.targetModules.map(\.rawValue).joined(separator: ","),
            "--epochs": epochs,
            "--steps": steps,
            "--batch-size": "\(training.batchSize)",
            "--accumulate": "\(training.accumulate)",
            "--max-length": "\(options.maximumLength)",
            "--learning-rate": text(training.learningRate),
            "--schedule": training.schedule.rawValue,
            "--warmup": "\(training.warmup)",
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
            "--seed": "\(training.seed)",
            "--no-shuffle": "\(!training.shuffles)",
            "--gradient-checkpointing": "\(options.recomputesBlocks)",
            "--precision": model.compute.precision.rawValue,
            "--threads": "\(model.compute.pool.count)",
        ])
    }
}
