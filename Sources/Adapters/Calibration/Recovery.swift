public import LorikeetQuant
public import LorikeetRuntime

/// A short RefLoRA run that teaches an adapter over a quantized base the float model's predictions.
///
/// The loss is KL(p‖q), p the float model's next-token distribution and q the base's with the adapter, on the text
/// that the base was calibrated on: no labels, and more to learn from than the text's own tokens. The float model runs
/// first, a block in memory at a time; of it its last hidden states stay.
///
/// ```swift
/// let report = try Recovery().write(source: floats, base: "nf4", text: text, compute: Compute())
/// ```
///
/// The folder `recovery` beside the base's weights is a PEFT adapter as any other.
/// Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015).
public struct Recovery: Sendable {
    /// The folder beside the base's weights.
    public static let folderName = "recovery"

    /// The adapter's rank; its alpha is twice that.
    public var rank = 16
    /// Passes over the text.
    public var epochs = 3
    /// The peak of A's and B's learning rate, which falls along half a cosine.
    public var learningRate = 1e-3

    /// The defaults.
    public init() {}

    /// What a run came to.
    public struct Report: Sendable {
        /// The mean KL(p‖q) of the first step's tokens, in nats.
        public var firstDivergence: Double
        /// Of the last step's.
        public var lastDivergence: Double
        /// Optimizer steps.
        public var steps: Int
        /// Tokens learned from, those of later epochs again.
        public var tokens: Int
        /// Wall-clock time, the float model's pass included.
        public var seconds: Double
        /// The numbers of the adapter.
        public var parameters: Int
    }

    /// How far it has come.
    public enum Progress: Sendable {
        /// Blocks of the float model that the text went through, of how many.
        case reference(done: Int, total: Int)
        /// An optimizer step; its loss is the divergence.
        case step(StepMetrics)
    }

    /// Bytes of activations beyond which blocks are run forward again instead of keeping them.
    private static let mostActivations = 1 << 30
    // Windows whose gradients make a step.
    private static let windowsOfStep = 4

    /// Trains the adapter, and writes it into the folder `base`.
    ///
    /// - Parameters:
    ///   - source: the float checkpoint.
    ///   - base: the folder that was quantized from it.
    ///   - text: what to learn on.
    ///   - compute: what to run on.
    ///   - progress: called often; what it throws ends the work, and nothing is written.
    /// - Returns: what it came to.
    /// - Throws: what reading throws; `.unsupported` for a model that is no decoder.
    public func write(
        source: any Checkpoint, base: String, text: CalibrationText, compute: Compute,
        progress: (Progress) throws -> Void = { _ in }
    ) throws -> Report {
        let start = ContinuousClock.now
        let reference = try ReferenceStates(source, windows: text.windows, on: compute) {
            try progress(.reference(done: $0, total: $1))
        }
        let model = try DecoderModel(checkpoint: Checkpoints.open(base), on: compute)
        let configuration = model.configuration
        let alpha = Double(2 * rank)
        let adapter = TrainableAdapter(
            shapes: TrainableAdapter.Shape.shapes(of: configuration.modules.all, in: configuration),
            rank: rank, scale: options.method.scale(rank: rank, alpha: alpha))
        adapter.startUniformly(seed: options.seed)
        let tokens = text.windows.map(\.count).max() ?? 0
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: tokens,
            recomputesBlocks: try activations(of: base, tokens: tokens, compute)
                > Self.mostActivations)
        let rows = text.windows.map { TrainingRow(inputIDs: $0, labels: $0) }
        let run = try Trainer(rows, options: options).run(
            DistillationPass(pass, reference: reference), adapter: adapter, compute: compute
        ) {
            try progress(.step($0))
            return .proceed
        }
        try Adapters.writePeftFolder(
            at: "\(base)/\(Self.folderName)",
            configuration: AdapterConfiguration(
                rank: rank, alpha: alpha,
                targetModules: .list(configuration.modules.all.map(\.name)),
                baseModel: Adapters.name(of: base)),
            deltas: adapter.deltas, replace: true)
        return Report(
            firstDivergence: run.firstLoss, lastDivergence: run.lastLoss, steps: run.steps,
            tokens: run.tokens, seconds: (ContinuousClock.now - start) / .seconds(1),
            parameters: adapter.parameterCount)
    }

    /// Bytes that a pass of so many tokens keeps, where blocks are not run forward again.
    private func activations(of base: String, tokens: Int, _ compute: Compute) throws -> Int {
        let memory = try DecoderModel.memory(
            of: Checkpoints.open(base), precision: compute.precision)
        let dimensions = TrainingPass.Dimensions(
            tokens: tokens, longestRow: tokens, rank: rank,
            modules: memory.configuration.modules.all, recomputesBlocks: false,
            precision: compute.precision, threads: compute.pool.count)
        return TrainingPass.memory(memory, dimensions).activations
    }

    private var options: TrainingOptions {
        var options = TrainingOptions()
        options.method = .reflora
        options.length = .epochs(epochs)
        options.batchSize = 1
        options.accumulate = Self.windowsOfStep
        options.learningRate = learningRate
        options.schedule = .cosine
        options.warmupRatio = 0.05
        options.maximumGradientNorm = 1
        return options
    }
}
