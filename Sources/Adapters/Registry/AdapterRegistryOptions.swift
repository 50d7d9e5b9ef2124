/// What a registry is told beyond its base.
public struct AdapterRegistryOptions: Sendable {
    /// Bytes that loaded adapters may take; nil for no limit.
    ///
    /// Past it those that nobody uses are let go of, the least recently used first, and loaded again when
    /// asked for.
    public var maximumMemory: Int?
    /// Where PEFT folders are packed to when they are let go of; nil loads them from the folder again.
    ///
    /// A folder for one registry alone.
    public var cacheFolder: String?
    /// What a bundle or folder may hold.
    public var maximumBundleBytes = AdapterBundle.defaultMaximumBytes
    /// Blends that are kept.
    public var maximumBlends = 16
    /// The most adapters in a blend.
    public var maximumBlendParts = 8
    /// Contents that a name remembers, the current one among them.
    public var keptVersions = 4
    /// Whose signatures count; nil loads unsigned adapters too.
    public var trustedKeys: TrustedKeys?
    /// Names that no adapter may have: the base's.
    public var reservedNames: Set<String> = []
    /// Called after each load, on demand too, with the time from its beginning to the exchange.
    public var onLoad: (@Sendable (_ name: String, _ duration: Duration) -> Void)?

    /// No limit of memory, 16 blends of at most 8 adapters, 4 versions a name, anybody's adapters.
    public init() {}
}
