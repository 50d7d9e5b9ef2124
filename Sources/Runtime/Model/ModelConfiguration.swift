/// What config.json says of a decoder of the Llama family (Llama 1, 2, 3, SmolLM2).
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

    /// A stretching of the rotary frequencies (`rope_scaling` or `rope_parameters`).
    public enum RopeScaling: Sendable, Equatable {
        /// Positions divided by `factor`.
        case linear(factor: Double)
        /// Llama 3.1's, by wavelength.
        case llama3(
            factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double,
            originalMaximumPositions: Int)
    }

    /// Creates a configuration.
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
