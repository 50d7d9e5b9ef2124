import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// Reads adapters, from PEFT folders and bundles alike, and writes PEFT folders.
public enum Adapters {
    /// Loads the adapter at `path` and checks it against a base.
    ///
    /// ```swift
    /// let adapter = try Adapters.load("pirate.lorikeet", for: model.configuration) {
    ///     try BaseDigest.of(checkpoint)
    /// }
    /// print(adapter.moduleCount, "modules")
    /// ```
    ///
    /// - Parameters:
    ///   - path: a PEFT folder or a bundle.
    ///   - model: the base's configuration: every factor must fit a module of it.
    ///   - norms: the norms of the base's weights, which a DoRA adapter needs; nil refuses one.
    ///   - baseDigest: the base's digest, asked for only by a bundle that states its own; nil skips the
    ///     comparison. A PEFT folder states none.
    ///   - name: what to call it; nil for the bundle's or the folder's name.
    ///   - allowOtherBase: whether a bundle's base may be another than `baseDigest` says.
    ///   - allowNoEffect: whether an adapter that changes nothing is accepted, as a start for training.
    ///   - trustedKeys: whose signature a bundle must carry; nil for anybody's or none. A PEFT folder carries
    ///     none.
    ///   - maximumBytes: what a bundle or folder may hold.
    /// - Returns: the adapter.
    /// - Throws: `.notFound`, `.malformed`, `.unsupported`; `.mismatch` for an adapter of another base, or
    ///   one that none of the trusted keys signed.
    public static func load(
        _ path: String, for model: ModelConfiguration, norms: RowNorms? = nil,
        baseDigest: (() throws -> String)? = nil, name: String? = nil, allowOtherBase: Bool = false,
        allowNoEffect: Bool = false, trustedKeys: TrustedKeys? = nil,
        maximumBytes: Int = AdapterBundle.defaultMaximumBytes
    ) throws -> Adapter {
        try load(
            path, norms: norms, baseDigest: baseDigest, name: name, allowOtherBase: allowOtherBase,
            allowNoEffect: allowNoEffect, trustedKeys: trustedKeys, maximumBytes: maximumBytes
        ) { try $0.check(against: model, source: path) }
    }

    /// The same over any base; `check` compares the adapter with it.
    static func load(
        _ path: String, norms: RowNorms?, baseDigest: (() throws -> String)?, name: String? = nil,
        allowOtherBase: Bool = false, allowNoEffect: Bool = false, trustedKeys: TrustedKeys? = nil,
        maximumBytes: Int = AdapterBundle.defaultMaximumBytes, check: (Adapter) throws -> Void
    ) throws -> Adapter {
        let adapter = try read(
            path, baseDigest: baseDigest, name: name, allowOtherBase: allowOtherBase,
            allowNoEffect: allowNoEffect, trustedKeys: trustedKeys, maximumBytes: maximumBytes,
            check: check)
        guard adapter.configuration.usesDoRA else { return adapter }
        guard let norms else {
            throw LorikeetError(
                .invalidArgument, path, "a DoRA adapter needs the weights of its base",
                expected: "their norms", got: "a configuration alone")
        }
        return adapter.prepared(with: norms)
    }

    /// The same for a caller that needs no `delta(at:)`: a DoRA adapter comes without its output scales.
    ///
    /// - Throws: as `load`.
    public static func read(
        _ path: String, for model: ModelConfiguration, baseDigest: (() throws -> String)? = nil,
        name: String? = nil, allowOtherBase: Bool = false, allowNoEffect: Bool = false,
        trustedKeys: TrustedKeys? = nil, maximumBytes: Int = AdapterBundle.defaultMaximumBytes
    ) throws -> Adapter {
        try read(
            path, baseDigest: baseDigest, name: name, allowOtherBase: allowOtherBase,
            allowNoEffect: allowNoEffect, trustedKeys: trustedKeys, maximumBytes: maximumBytes
        ) { try $0.check(against: model, source: path) }
    }

    private static func read(
        _ path: String, baseDigest: (() throws -> String)?, name: String?, allowOtherBase: Bool,
        allowNoEffect: Bool, trustedKeys: TrustedKeys?, maximumBytes: Int,
        check: (Adapter) throws -> Void
    ) throws -> Adapter {
        let adapter: Adapter
        if try isFolder(path) {
            try trustedKeys?.require(nil, source: path)
            adapter = try Adapter(
                files: AdapterFiles(folder: path, maximumBytes: maximumBytes),
                name: name ?? Self.name(of: path), manifest: nil, allowNoEffect: allowNoEffect)
        } else {
            let archive = try BundleArchive(
                path: path, maximumBytes: maximumBytes, isComplete: false)
            try trustedKeys?.require(archive.manifest.signer, source: path)
            if let stated = archive.manifest.baseDigest, !allowOtherBase, let baseDigest {
                let got = try baseDigest()
                guard got == stated else {
                    throw LorikeetError(
                        .mismatch, path, "the adapter was trained over another base",
                        expected:
                            "the base \(archive.manifest.base.map { "\($0), " } ?? "")\(stated)",
                        got: got, advice: "Use it with its own base.")
                }
            }
            adapter = try archive.adapter(name: name)
        }
        try check(adapter)
        return adapter
    }

    /// Reads the adapter at `path` without a base: all checks but those of its shapes.
    ///
    /// - Throws: as `load`.
    public static func inspect(_ path: String) throws -> Adapter {
        let (files, manifest) = try files(path, maximumBytes: AdapterBundle.defaultMaximumBytes)
        return try Adapter(
            files: files, name: manifest?.name ?? name(of: path), manifest: manifest,
            allowNoEffect: true)
    }

    /// Writes a PEFT folder: adapter_config.json and adapter_model.safetensors.
    ///
    /// - Parameters:
    ///   - path: the folder; it appears whole or not at all.
    ///   - configuration: what adapter_config.json says.
    ///   - deltas: the factors. Their scales are not written: the configuration tells them.
    ///   - magnitudes: DoRA's.
    ///   - tensors: the model's tensors that the adapter brings whole, by their names there.
    ///   - type: how the factors are stored.
    ///   - readMe: the text of README.md; nil for none.
    ///   - replace: whether an existing folder is replaced.
    /// - Throws: `.exists`, `.io`; `.invalidArgument` for factors that are not finite or not of the rank
    ///   that the configuration gives them.
    public static func writePeftFolder(
        at path: String, configuration: AdapterConfiguration, deltas: [ModulePath: LowRankDelta],
        magnitudes: [ModulePath: Buffer<Float>] = [:], tensors: [String: SavedTensor] = [:],
        type: FactorType = .fp32, readMe: String? = nil, replace: Bool = false
    ) throws {
        try AtomicOutput.folder(at: path, replace: replace) { folder in
            try writePeftFiles(
                into: folder, configuration: configuration, deltas: deltas, magnitudes: magnitudes,
                tensors: tensors, type: type)
            if let readMe { try AtomicOutput.write(Array(readMe.utf8), to: folder + "/README.md") }
        }
    }

    /// Writes adapter_config.json and adapter_model.safetensors into a folder that exists.
    ///
    /// - Throws: as `writePeftFolder`.
    public static func writePeftFiles(
        into folder: String, configuration: AdapterConfiguration,
        deltas: [ModulePath: LowRankDelta], magnitudes: [ModulePath: Buffer<Float>] = [:],
        tensors: [String: SavedTensor] = [:], type: FactorType = .fp32
    ) throws {
        let expected = configuration.usesDoRA ? Set(deltas.keys) : []
        guard Set(magnitudes.keys) == expected else {
            throw LorikeetError(
                .invalidArgument, folder, "the configuration does not describe the magnitudes",
                expected: "\(expected.count) of them", got: "\(magnitudes.count)")
        }
        for (path, term) in try configuration.terms(at: Array(deltas.keys), source: folder) {
            guard let delta = deltas[path], delta.rank == term.rank, delta.scale == term.scale
            else {
                throw LorikeetError(
                    .invalidArgument, folder,
                    "the configuration does not describe the term of \(path)",
                    expected: "rank \(term.rank), scale \(term.scale)",
                    got: "rank \(deltas[path]?.rank ?? 0), scale \(deltas[path]?.scale ?? 0)")
            }
        }
        try AdapterFiles(
            configuration: configuration, deltas: deltas, magnitudes: magnitudes, saved: tensors,
            type: type, source: folder
        ).write(into: folder)
    }

    /// The files of the folder or bundle at `path`, and the bundle's manifest.
    static func files(
        _ path: String, maximumBytes: Int
    ) throws -> (AdapterFiles, BundleManifest?) {
        if try isFolder(path) {
            return (try AdapterFiles(folder: path, maximumBytes: maximumBytes), nil)
        }
        let archive = try BundleArchive(path: path, maximumBytes: maximumBytes)
        return (try archive.adapterFiles(), archive.manifest)
    }

    /// The last part of a path, less a bundle's suffix.
    public static func name(of path: String) -> String {
        let last = (path as NSString).lastPathComponent
        let suffix = "." + AdapterBundle.pathExtension
        return last.hasSuffix(suffix) && last != suffix ? String(last.dropLast(suffix.count)) : last
    }

    /// Whether `path` looks like an adapter: a folder with an adapter_config.json, or a bundle.
    public static func isAdapter(_ path: String) -> Bool {
        path.hasSuffix("." + AdapterBundle.pathExtension)
            || FileManager.default.fileExists(atPath: path + "/" + AdapterFiles.configurationName)
    }

    static func isFolder(_ path: String) throws -> Bool {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw LorikeetError(.notFound, path, "there is no such adapter")
        }
        return isFolder.boolValue
    }
}
