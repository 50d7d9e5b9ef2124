/// What config.json says of an encoder: BERT, or DeBERTa of the second and third version.
public struct EncoderConfiguration: Sendable, Equatable {
    /// The architectures.
    public enum Architecture: String, Sendable {
        /// Devlin et al. 2019: positions and token types are added to the embeddings.
        case bert
        /// He et al. 2021: attention knows relative positions, DeBERTaV3's among them.
        case debertaV2 = "deberta-v2"
    }

    /// Which it is.
    public var architecture: Architecture
    /// Width of the hidden states.
    public var hiddenSize: Int
    /// Width of the feed-forward layer.
    public var intermediateSize: Int
    /// Number of blocks.
    public var layerCount: Int
    /// Heads.
    public var headCount: Int
    /// Rows of the embedding.
    public var vocabularySize: Int
    /// The longest sequence.
    public var maximumPositions: Int
    /// Rows of the embedding of token types; 0 without.
    public var tokenTypeCount: Int
    /// Whether absolute positions are added to the embeddings.
    public var embedsPositions: Bool
    /// Relative positions in attention, with a table of them that is normalized or not.
    public var relativePositions: RelativePositions?
    /// Whether that table is normalized.
    public var normalizesRelativePositions: Bool
    /// LayerNorm's epsilon.
    public var normEpsilon: Float
    /// The names of the classes, in the order of the classifier's outputs: `id2label`.
    public var labels: [String]

    /// Width of a head.
    public var headSize: Int { hiddenSize / headCount }
}

extension EncoderConfiguration {
    /// What precedes a tensor's name in a model with a classifier: `bert.`.
    public var prefix: String {
        switch architecture {
        case .bert: "bert."
        case .debertaV2: "deberta."
        }
    }

    /// The pooler's linear layer, in a model with a classifier.
    var poolerName: String {
        switch architecture {
        case .bert: "bert.pooler.dense"
        case .debertaV2: "pooler.dense"
        }
    }
}
