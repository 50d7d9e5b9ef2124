/// What a server serves.
public struct ServedModel: Sendable {
    /// What generates; the server stops it when it ends.
    public var engine: Engine
    /// What requests may name.
    public var adapters: any ServedAdapters
    /// The base's digest.
    public var baseDigest: String

    /// An engine and the adapters over its model.
    public init(engine: Engine, adapters: any ServedAdapters, baseDigest: String) {
        self.engine = engine
        self.adapters = adapters
        self.baseDigest = baseDigest
    }
}
