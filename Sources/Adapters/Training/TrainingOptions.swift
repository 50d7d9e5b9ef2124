public import LorikeetRuntime

/// How a run is trained; the adapter (rank, scale, layers, start) is made before.
public struct TrainingOptions: Sendable {
    /// How long a run is.
    public enum Length: Sendable, Equatable {
        /// Optimizer steps.
        case steps(Int)
        /// Passes over the data; the last step takes what is left.
        case epochs(Int)
    }

    /// Which rows go through the model together.
    public enum Batching: Sendable, Equatable {
        /// `batchSize` of them, as they come.
        case inOrder
        /// As many whole ones as fit into `batchSize` times the maximum length, so that passes are full.
        case packed
        /// `batchSize` of similar length.
        case byLength
    }

    /// The method.
    public var method = MethodName.reflora
    /// What is minimized.
    public var objective = ObjectiveName.likelihood
    /// DPO's β.
    public var beta = 0.1
    /// How long.
    public var length = Length.epochs(1)
    /// Examples in one pass through the model: rows, or pairs of them.
    public var batchSize = 4
    /// Passes in one optimizer step.
    ///
    /// The result is that of one batch of `batchSize` · `accumulate` rows.
    public var accumulate = 1
    /// Which rows go through the model together.
    public var batching = Batching.inOrder
    /// A's peak learning rate; nil for the method's default.
    public var learningRate: Double?
    /// How the rate moves.
    public var schedule = LearningRateSchedule.constant
    /// The schedule's parameters.
    public var scheduleShape = LearningRateSchedule.Shape()
    /// Steps over which the rate rises from zero.
    public var warmup = 0
    /// The same as a part of the run, rounded up to a step; nil for `warmup`.
    public var warmupRatio: Double?
    /// When the run is measured on held-out rows.
    public var validation = ValidationOptions()
    /// The gradient norm above which gradients are scaled down, before any preconditioning; nil for none.
    public var maximumGradientNorm: Double?
    /// Moments and weight decay.
    public var optimizer = AdamW.Options()
    /// What training adds to the loss and the pass; its seed is `seed`.
    public var regularization = Regularization()
    /// RefLoRA: steps of plain LoRA at the start; nil for a sixth of the run, 100 at most.
    public var refactoringWarmup: Int?
    /// RefLoRA: refactor at every how many steps.
    public var refactoringInterval = 1
    /// LoRA+: B's learning rate over A's.
    public var learningRateRatio = 16.0
    /// PrecLoRA, LoRA-FA, LoRA-Pro: δ, added to the Gram matrices' diagonals; nil for the method's own.
    public var damping: Double?
    /// AdaLoRA: how ranks fall.
    public var adaLoRA = AdaLoRA.Options()
    /// Whether each epoch has its own random order; otherwise step s takes the rows from
    /// `batchSize` · `accumulate` · s on.
    public var shuffles = true
    /// What the shuffles and the noise follow from, and what a method draws at random.
    public var seed: UInt64 = 0

    /// The defaults.
    public init() {}
}

extension TrainingOptions {
    /// The steps over which the rate rises, in a run of `total`.
    func warmupSteps(of total: Int) -> Int {
        warmupRatio.map { Int(($0 * Double(total)).rounded(.up)) } ?? warmup
    }

    /// Whether there is an option that says nothing without held-out rows.
    var needsValidation: Bool { validation.interval != nil || validation.patience != nil }

    /// What the method needs to know of a run of `totalSteps`.
    func methodSettings(totalSteps: Int) -> MethodSettings {
        var settings = MethodSettings(
            totalSteps: totalSteps, refactoringWarmup: refactoringWarmup,
            refactoringInterval: refactoringInterval)
        settings.learningRateRatio = learningRateRatio
        settings.damping = damping
        settings.adaLoRA = adaLoRA
        settings.seed = seed
        return settings
    }

    /// - Throws: `.invalidArgument` naming the first option out of its range.
    func validate() throws {
        func require(_ holds: Bool, _ flag: String, _ expected: String, _ got: some Any) throws {
            guard !holds else { return }
            throw LorikeetError(
                .invalidArgument, flag, "is out of range", expected: expected, got: "\(got)")
        }
        // The upper bounds keep positions, batch · accumulate · steps, within 64 bits.
        let (sizes, lengths) = (1...65_536, 1...1_000_000_000)
        try require(sizes ~= batchSize, "--batch-size", "1 to 65536", batchSize)
        try require(sizes ~= accumulate, "--accumulate", "1 to 65536", accumulate)
        switch length {
        case .steps(let steps): try require(lengths ~= steps, "--steps", "1 to 1e9", steps)
        case .epochs(let epochs): try require(lengths ~= epochs, "--epochs", "1 to 1e9", epochs)
        }
        try require(warmup >= 0, "--warmup", "0 or more", warmup)
        if let warmupRatio {
            try require((0...1).contains(warmupRatio), "--warmup-ratio", "0 to 1", warmupRatio)
        }
        let shape = scheduleShape
        try require((0...1).contains(shape.floor), "--min-rate", "0 to 1", shape.floor)
        try require(shape.power > 0, "--decay-power", "more than 0", shape.power)
        try require((1...1_000_000).contains(shape.cycles), "--cycles", "1 to 1e6", shape.cycles)
        try require((0...1).contains(shape.decayRatio), "--decay-ratio", "0 to 1", shape.decayRatio)
        try require(
            (validation.interval ?? 1) > 0, "--eval-every", "1 or more", validation.interval ?? 0)
        try require(
            (validation.patience ?? 1) > 0, "--early-stopping", "1 or more",
            validation.patience ?? 0)
        try require(
            validation.minimumImprovement >= 0, "--early-stopping-delta", "0 or more",
            validation.minimumImprovement)
        if let learningRate {
            try require(
                learningRate > 0 && learningRate.isFinite, "--learning-rate", "more than 0",
                learningRate)
        }
        if let norm = maximumGradientNorm {
            try require(norm > 0, "--max-gradient-norm", "more than 0", norm)
        }
        let smoothing = regularization.labelSmoothing
        try require(
            (0..<1) ~= smoothing, "--label-smoothing", "0 or more and less than 1", smoothing)
        if objective == .directPreference {
            try require(beta > 0 && beta.isFinite, "--beta", "more than 0", beta)
            try require(
                smoothing < 0.5, "--label-smoothing", "less than 0.5 with DPO", smoothing)
        }
        let noise = regularization.embeddingNoise
        try require(noise >= 0 && noise.isFinite, "--neftune-alpha", "0 or more", noise)
        let dropout = regularization.dropout
        try require(
            dropout == 0 || !method.trainsMagnitudes, "--lora-dropout", "0 with DoRA", dropout)
        try require((0..<1) ~= dropout, "--lora-dropout", "0 or more and less than 1", dropout)
        try require(
            (refactoringWarmup ?? 0) >= 0, "--reflora-warmup", "0 or more", refactoringWarmup ?? 0)
        try require(
            refactoringInterval > 0, "--reflora-interval", "at least 1", refactoringInterval)
        try require(
            learningRateRatio > 0 && learningRateRatio.isFinite, "--loraplus-ratio", "more than 0",
            learningRateRatio)
        if let damping {
            try require(damping > 0 && damping.isFinite, "--damping", "more than 0", damping)
        }
        try require(
            (adaLoRA.targetRank ?? 1) > 0, "--adalora-target-rank", "at least 1",
            adaLoRA.targetRank ?? 1)
        try require(
            (adaLoRA.warmup ?? 0) >= 0, "--adalora-warmup", "0 or more", adaLoRA.warmup ?? 0)
        try require((adaLoRA.final ?? 0) >= 0, "--adalora-final", "0 or more", adaLoRA.final ?? 0)
        try require(adaLoRA.interval > 0, "--adalora-interval", "at least 1", adaLoRA.interval)
    }
}
