/// What a server serves.
public struct ServedModel: Sendable {
    /// The model, what runs it, and the adapters that requests may name.
    public enum Model: Sendable {
        /// A decoder: an engine schedules the tokens of all answers.
        case decoder(Engine, any ServedAdapters<EngineAdapter>)
        /// An encoder: a batcher lets many requests' texts share passes.
        case encoder(EncoderBatcher, any ServedAdapters<EncoderAdapter>)
    }

    /// The model; the server stops what runs it when it ends.
    public var model: Model
    /// The base's digest.
    public var baseDigest: String

    /// A decoder's engine and the adapters over it.
    public init(
        engine: Engine, adapters: any ServedAdapters<EngineAdapter>, baseDigest: String
    ) {
        (model, self.baseDigest) = (.decoder(engine, adapters), baseDigest)
    }

    /// An encoder's batcher and the adapters over it.
    public init(
        batcher: EncoderBatcher, adapters: any ServedAdapters<EncoderAdapter>, baseDigest: String
    ) {
        (model, self.baseDigest) = (.encoder(batcher, adapters), baseDigest)
    }
}
