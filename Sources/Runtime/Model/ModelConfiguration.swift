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
    /// Whether queries, keys and values are one layer, and gate and linear half another.
    public var fusesProjections = false

    /// A stretching of the rotary frequencies (`rope_scaling` or `rope_parameters`).
    public enum RopeScaling: Sendable, Equatable {
        /// Positions divided by `factor`.
        case linear(factor: Double)
        /// Llama 3.1's, by wavelength.
        case llama3(
            factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
            originalMaximumPositions: Int)
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
    }
}

extension ModelConfiguration {
    /// heads · headSize.
    package var queryWidth: Int { headCount * headSize }
    /// keyValueHeads · headSize.
    package var keyWidth: Int { keyValueHeadCount * headSize }

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
