public import LorikeetQuant
public import LorikeetRuntime

extension Adapters {
    /// Loads the adapter at `path` over `model`; a bundle must have been trained over this base.
    ///
    /// - Throws: what `load(_:for:)` throws.
    public static func load(
        _ path: String, over model: LanguageModel, name: String? = nil, allowNoEffect: Bool = false
    ) throws -> Adapter {
        try load(
            path, for: model.model.configuration,
            norms: RowNorms(model.model, on: model.compute),
            baseDigest: { try model.baseDigest() }, name: name, allowNoEffect: allowNoEffect)
    }

    /// The adapters at `paths` over a base, their terms added up; nil for none.
    ///
    /// - Throws: what `load(_:for:)` and `DeltaSum` throw.
    public static func sum(
        _ paths: [String], over model: DecoderModel, of checkpoint: some Checkpoint,
        on compute: Compute
    ) throws -> (any LowRankDeltas)? {
        let adapters = try paths.map { path in
            try load(
                path, for: model.configuration, norms: RowNorms(model, on: compute),
                baseDigest: { try BaseDigest.of(checkpoint) })
        }
        return adapters.count > 1 ? try DeltaSum(adapters) : adapters.first
    }
}

extension AdapterRegistry where Prepared == any LowRankDeltas {
    /// An empty registry whose adapters are used as they are.
    public convenience init(
        _ base: AdapterBase, options: AdapterRegistryOptions = AdapterRegistryOptions(),
        probe: AdapterProbe<Prepared>? = nil
    ) {
        // An adapter's own memory is counted anyway.
        self.init(base, options: options, probe: probe, prepare: { $0 }, memory: { _ in 0 })
    }

    /// An empty registry over `model`, which accepts bundles that were trained over it.
    public convenience init(_ model: LanguageModel) {
        self.init(
            AdapterBase(model),
            probe: AdapterProbe(model.model, on: model.compute) { [compute = model.compute] in
                PackedDeltas($0, for: model.model.configuration, on: compute)
            })
    }
}

extension LanguageModel {
    /// The identity of the base for adapters; reads every quantized weight.
    ///
    /// - Throws: what reading the checkpoint throws.
    public func baseDigest() throws -> String { try BaseDigest.of(checkpoint) }
}
