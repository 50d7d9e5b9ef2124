import LorikeetRuntime

extension Adapters {
    /// Writes the adapter at `source`, a bundle or a folder, as a plain PEFT folder: adapter_config.json and
    /// adapter_model.safetensors, whatever lies beside them.
    ///
    /// - Parameters:
    ///   - source: a bundle or a PEFT folder.
    ///   - path: the folder; it appears whole or not at all.
    ///   - type: what the factors are rounded to; nil keeps every byte.
    ///   - replace: whether an existing folder is replaced.
    /// - Returns: the adapter that was written.
    /// - Throws: `.exists`, and what `inspect` throws for a bad adapter, for none is written.
    @discardableResult
    public static func writePeftFolder(
        of source: String, to path: String, type: FactorType? = nil, replace: Bool = false
    ) throws -> Adapter {
        try AtomicOutput.requireAbsent(path, unless: replace)
        let (files, manifest) = try files(
            source, maximumBytes: AdapterBundle.defaultMaximumBytes)
        let converted = try type.map { try files.converted(to: $0) } ?? files
        let adapter = try Adapter(
            files: converted, name: manifest?.name ?? name(of: source), manifest: manifest,
            allowNoEffect: false)
        try AtomicOutput.folder(at: path, replace: replace) { try converted.write(into: $0) }
        return adapter
    }
}
