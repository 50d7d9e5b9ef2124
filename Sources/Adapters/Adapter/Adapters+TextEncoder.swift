public import LorikeetRuntime

extension Adapters {
    /// Loads the adapter at `path` over an encoder, and checks it.
    ///
    /// - Throws: as `load(_:for:)`.
    public static func load(
        _ path: String, over encoder: TextEncoder, name: String? = nil, allowNoEffect: Bool = false
    ) throws -> Adapter {
        let model = encoder.model
        return try load(
            path, norms: RowNorms(on: encoder.compute) { model.weight(at: $0) },
            baseDigest: { try BaseDigest.of(encoder.checkpoint) }, name: name,
            allowNoEffect: allowNoEffect
        ) { try $0.check(against: model.configuration, source: path) }
    }
}
