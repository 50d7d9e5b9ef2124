public import LorikeetQuant

extension TrainingPass {
    /// What the memory of a pass follows from, besides the model.
    public struct Dimensions: Sendable, Equatable {
        /// The most tokens that one call takes.
        public var tokens: Int
        /// The longest row.
        public var longestRow: Int
        /// The adapter's rank.
        public var rank: Int
        /// The layers of a block that are adapted.
        public var modules: [LinearModule]
        /// Whether blocks run forward again instead of keeping their activations.
        public var recomputesBlocks: Bool
        /// Positions of which there are logits at once; nil for the usual number.
        public var lossChunk: Int?
        /// The arithmetic of products with the weights.
        public var precision: Precision
        /// Threads.
        public var threads: Int
        /// Whether low-rank terms see their inputs with dropout.
        public var dropsInputs: Bool
        /// Whether outputs of adapted layers are multiplied by scales.
        public var scalesOutputs: Bool

        /// Describes a pass.
        public init(
            tokens: Int, longestRow: Int, rank: Int, modules: [LinearModule],
            recomputesBlocks: Bool, lossChunk: Int? = nil, precision: Precision, threads: Int,
            dropsInputs: Bool = false, scalesOutputs: Bool = false
        ) {
            self.tokens = tokens
            self.longestRow = longestRow
            self.rank = rank
            self.modules = modules
            self.recomputesBlocks = recomputesBlocks
            self.lossChunk = lossChunk
            self.precision = precision
            self.threads = threads
            self.dropsInputs = dropsInputs
            self.scalesOutputs = scalesOutputs
        }
    }

    /// The bytes of a pass, by what they are for.
    public struct Memory: Sendable, Equatable {
        /// The blocks' inputs, what blocks keep for their gradients, and the residual stream's gradient.
        public var activations: Int
        /// Logits of a chunk of positions, and what their product works with.
        public var logits: Int
        /// Attention's scores, and the table of rotations.
        public var attention: Int
        /// What lies between the two factors.
        public var lowRank: Int
        /// What blocks work with: normalized inputs, gradients, inputs in integers, the kernels' own.
        public var scratch: Int
    }

    /// The memory of a pass over a model, once it has seen its largest batch.
    public static func memory(
        _ model: DecoderModel.Memory, _ dimensions: Dimensions
    ) -> Memory {
        let (configuration, tokens) = (model.configuration, dimensions.tokens)
        let width = Buffer<Float>.memory(tokens * configuration.hiddenSize)
        let shapes = dimensions.modules.map { $0.shape(in: configuration) }
        let (outputs, inputs) = (shapes.map(\.outputs).max() ?? 0, shapes.map(\.inputs).max() ?? 0)
        return Memory(
            activations: (configuration.layerCount + 2) * width
                + ActivationStore<BlockActivations>.memory(
                    configuration, tokens: tokens, recomputes: dimensions.recomputesBlocks,
                    precision: dimensions.precision),
            logits: CrossEntropy.memory(
                vocabulary: configuration.vocabularySize, width: configuration.hiddenSize,
                chunk: lossChunk(
                    dimensions.lossChunk, tokens: tokens,
                    vocabulary: configuration.vocabularySize),
                isTiled: model.tilesOutput,
                cappedThreads: configuration.logitCap == nil ? 0 : dimensions.threads),
            attention: dimensions.threads
                * Attention.memory(
                    keys: ForwardScratch.keys(for: dimensions.longestRow),
                    capped: configuration.attentionCap != nil)
                + Rotations.memory(configuration, positions: tokens),
            lowRank: LinearScratch.memory(
                tokens: tokens, rank: dimensions.rank, outputs: outputs,
                inputs: dimensions.dropsInputs ? inputs : 0,
                scaledOutputs: dimensions.scalesOutputs ? outputs : 0),
            scratch: ForwardScratch.memory(configuration, tokens: tokens)
                + BackwardScratch.memory(configuration, tokens: tokens)
                + Activations.memory(count: tokens, columns: model.widestTiled)
                + Compute.memory(threads: dimensions.threads))
    }

    /// Positions of which there are logits at once, unless a pass is told otherwise.
    public static func usualLossChunk(vocabulary: Int) -> Int {
        CrossEntropy.usualChunk(vocabulary: vocabulary)
    }

    /// Positions of which there are logits at once: as many as asked for, or usual, but not more than
    /// there are tokens.
    static func lossChunk(_ asked: Int?, tokens: Int, vocabulary: Int) -> Int {
        min(asked ?? usualLossChunk(vocabulary: vocabulary), tokens)
    }
}
