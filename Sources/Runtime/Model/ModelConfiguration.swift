/// What config.json says of a decoder: its dimensions, and which parts its blocks are made of.
///
/// The parts read it; what an architecture calls its fields, and what it leaves out, its own file knows
/// (`Architectures/`).
public struct ModelConfiguration: Sendable, Equatable {
    /// Width of the residual stream.
    public var hiddenSize: Int
    /// Width of the feed-forward layer.
    public var intermediateSize: Int
    /// Number of blocks.
    public var layerCount: Int
    /// Query heads.
    public var headCount: Int
    /// Key and value heads; divides `headCount`.
    public var keyValueHeadCount: Int
    /// Width of a head.
    public var headSize: Int
    /// Rows of the embedding.
    public var vocabularySize: Int
    /// Longest sequence the model was trained for.
    public var maximumPositions: Int
    /// RMSNorm's epsilon.
    public var normEpsilon: Float
    /// Base of the rotary frequencies.
    public var ropeTheta: Double
    /// How the rotary frequencies are stretched.
    public var ropeScaling: RopeScaling?
    /// Whether the output projection is the embedding.
    public var tiesEmbeddings: Bool

    // What sets a block apart from Llama's.

    /// Whether queries, keys and values are one layer, and gate and linear half another.
    public var fusesProjections = false
    /// The linear layers with biases.
    public var biasedModules: [LinearModule] = []
    /// Whether queries and keys are normalized, each head by itself.
    public var normalizesHeads = false
    /// Whether what a sublayer adds is normalized, too.
    public var normalizesResults = false
    /// What is added to the norms' weights as they are stored.
    public var normOffset: Float = 0
    /// The activation of the feed-forward layer's gate.
    public var activation = GatedActivation.silu
    /// What embeddings are multiplied by.
    public var embeddingScale: Float = 1
    /// c of c tanh(z / c), which the logits become; nil leaves them as they are.
    public var logitCap: Float?
    /// What q · k is multiplied by.
    public var attentionScale: Float
    /// c of c tanh(s / c), which attention's scores become; nil leaves them as they are.
    public var attentionCap: Float?
    /// How many positions a block sees that attends locally, a query's own the last of them.
    public var slidingWindow: Int?
    /// The blocks that attend locally.
    public var localLayers: Set<Int> = []
    /// Base of their rotary frequencies where that is another, which are not stretched then.
    public var localRopeTheta: Double?
    /// How many of a head's components are rotated: the first ones.
    public var rotarySize: Int

    /// A stretching of the rotary frequencies (`rope_scaling` or `rope_parameters`).
    public enum RopeScaling: Sendable, Equatable {
        /// Positions divided by `factor`.
        case linear(factor: Double)
        /// Llama 3.1's, by wavelength.
        case llama3(
            factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
            originalMaximumPositions: Int)
        /// Each frequency divided by its own factor, and rotated components multiplied by
        /// `attentionFactor` (LongRoPE).
        case factors([Double], attentionFactor: Double)

        /// What rotated components are multiplied by.
        var attentionFactor: Double {
            if case .factors(_, let factor) = self { factor } else { 1 }
        }
    }

    /// Creates the configuration of a Llama; other decoders differ in what is set afterwards.
    public init(
        hiddenSize: Int, intermediateSize: Int, layerCount: Int, headCount: Int,
        keyValueHeadCount: Int, headSize: Int, vocabularySize: Int, maximumPositions: Int,
        normEpsilon: Float, ropeTheta: Double, ropeScaling: RopeScaling?, tiesEmbeddings: Bool
    ) {
        self.hiddenSize = hiddenSize
        self.intermediateSize = intermediateSize
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headSize = headSize
        self.vocabularySize = vocabularySize
        self.maximumPositions = maximumPositions
        self.normEpsilon = normEpsilon
        self.ropeTheta = ropeTheta
        self.ropeScaling = ropeScaling
        self.tiesEmbeddings = tiesEmbeddings
        attentionScale = 1 / Float(headSize).squareRoot()
        rotarySize = headSize
    }
}

extension ModelConfiguration {
    /// heads · headSize.
    package var queryWidth: Int { headCount * headSize }
    /// keyValueHeads · headSize.
    package var keyWidth: Int { keyValueHeadCount * headSize }

    /// How a block's queries weigh positions.
    func attentionScores(of layer: Int) -> AttentionScores {
        AttentionScores(
            scale: attentionScale, cap: attentionCap,
            window: localLayers.contains(layer) ? slidingWindow : nil)
    }

    /// The linear layers of the blocks, as `BlockProduct` orders their products.
    public var modules: BlockModules {
        let (C, I, Q, K) = (hiddenSize, intermediateSize, queryWidth, keyWidth)
        let inputs: (attention: [BlockModules.Entry], feedForward: [BlockModules.Entry]) =
            fusesProjections
            ? (
                [.init(.queryKeyValue, outputs: Q + 2 * K, inputs: C)],
                [.init(.gateUp, outputs: 2 * I, inputs: C)]
            )
            : (
                [
                    .init(.query, outputs: Q, inputs: C), .init(.key, outputs: K, inputs: C),
                    .init(.value, outputs: K, inputs: C),
                ],
                [.init(.gate, outputs: I, inputs: C), .init(.up, outputs: I, inputs: C)]
            )
        return BlockModules(
            layerCount: layerCount,
            products: [
                inputs.attention, [.init(.output, outputs: C, inputs: Q)], inputs.feedForward,
                [.init(.down, outputs: C, inputs: I)],
            ])
    }
}
