public import LorikeetRuntime

extension Adapters {
    /// Loads the adapter at `path` over `model`; a bundle must have been trained over this base.
    ///
    /// - Throws: what `load(_:for:)` throws.
    public static func load(
        _ path: String, over model: LanguageModel, name: String? = nil, allowNoEffect: Bool = false
    ) throws -> Adapter {
        try load(
            path, for: model.model.configuration, baseDigest: { try model.baseDigest() }, name: name,
            allowNoEffect: allowNoEffect)
    }
}

extension AdapterRegistry {
    /// An empty registry over `model`, which accepts bundles that were trained over it.
    public convenience init(_ model: LanguageModel) {
        self.init(model: model.model.configuration) { try model.baseDigest() }
    }
}

extension LanguageModel {
    /// The identity of the base for adapters; reads every quantized weight.
    ///
    /// - Throws: what reading the checkpoint throws.
    public func baseDigest() throws -> String { try BaseDigest.of(checkpoint) }
}
