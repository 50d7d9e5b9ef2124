public import LorikeetRuntime

extension Adapter {
    /// What `lorikeet inspect --json` says of an adapter.
    ///
    /// Keys: name, method, rank, alpha, modules, parameters, target_modules, base, base_digest, digest,
    /// bundle (the manifest, or null).
    public var summary: JSON {
        let targets = Set(deltas.keys.map(\.module)).sorted()
        return [
            "name": .string(name),
            "method": .string(manifest?.method ?? configuration.method),
            "rank": .int(configuration.rank),
            "alpha": Int(exactly: configuration.alpha).map { .int($0) }
                ?? .double(configuration.alpha),
            "modules": .int(moduleCount),
            "parameters": .int(parameterCount),
            "target_modules": .array(targets.map { .string($0.name) }),
            "base": configuration.baseModel.map { .string($0) } ?? .null,
            "base_digest": manifest?.baseDigest.map { .string($0) } ?? .null,
            "digest": .string(digest),
            "bundle": manifest?.json ?? .null,
        ]
    }
}
