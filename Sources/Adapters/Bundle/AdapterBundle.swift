import Foundation
import LorikeetQuant
public import LorikeetRuntime

/// A bundle: an adapter as one compressed file, checked to the last byte when it is read.
///
/// It is a tar archive in one zstd frame, so `tar --zstd -x` opens it: `manifest.json`, then
/// `adapter_config.json`, then the factors. docs/bundle.md describes the format.
public enum AdapterBundle {
    /// What a bundle's file name ends in.
    public static let pathExtension = "lorikeet"

    /// The most that a bundle may hold unless its reader says otherwise: a rank-256 adapter of a 70B model
    /// fits.
    public static let defaultMaximumBytes = 16 << 30

    static let manifestName = "manifest.json"
    static let planesName = "adapter_model.planes.safetensors"

    /// What `pack` is told beyond the adapter itself.
    public struct Options: Sendable {
        /// The name in the manifest; nil for the source's own.
        public var name: String?
        /// The training method; nil for what the configuration tells.
        public var method: String?
        /// How the factors are stored.
        public var encoding = BundleManifest.Encoding.planes
        /// The type the factors are rounded to; nil keeps the file byte for byte.
        public var type: FactorType?
        /// `BaseDigest` of the base that the adapter belongs to.
        public var baseDigest: String?
        /// SHA-256 of the base's vocabulary: tokenizer.json, or the file that is there instead.
        public var tokenizerDigest: String?
        /// SHA-256 of the base's chat template.
        public var chatTemplateDigest: String?
        /// What the trainer says of the training.
        public var training: JSON?

        /// Creates the options of an exact bundle in byte planes.
        public init() {}
    }

    /// Packs the PEFT folder at `source` into a bundle.
    ///
    /// - Parameters:
    ///   - source: a PEFT folder, or a bundle to encode anew.
    ///   - path: the bundle to write.
    ///   - options: what the manifest is to say and how the factors are stored.
    ///   - replace: whether an existing file is replaced.
    /// - Returns: the manifest.
    /// - Throws: `.exists`; what `Adapters.load` throws for a bad adapter, for none is packed.
    @discardableResult
    public static func pack(
        _ source: String, to path: String, options: Options = Options(), replace: Bool = false
    ) throws -> BundleManifest {
        try AtomicOutput.requireAbsent(path, unless: replace)
        let (files, original) = try Adapters.files(source, maximumBytes: defaultMaximumBytes)
        var options = options
        // A bundle encoded anew keeps what its manifest knew.
        options.name = options.name ?? original?.name
        options.method = options.method ?? original?.method
        options.baseDigest = options.baseDigest ?? original?.baseDigest
        options.tokenizerDigest = options.tokenizerDigest ?? original?.tokenizerDigest
        options.chatTemplateDigest = options.chatTemplateDigest ?? original?.chatTemplateDigest
        options.training = options.training ?? original?.training
        return try write(files, to: path, options: options)
    }

    /// Bytes that writing a PEFT folder and packing it takes beside the adapter itself: its file, mapped
    /// and read whole, its factors once more to be checked, and their planes.
    static func packingMemory(factors: Int) -> Int { 3 * factors }

    /// Packs an adapter that is in memory, its factors in fp32 unless `options` says otherwise.
    ///
    /// - Throws: as `pack(_:to:options:replace:)`.
    @discardableResult
    public static func pack(
        _ adapter: Adapter, to path: String, options: Options = Options(), replace: Bool = false
    ) throws -> BundleManifest {
        try AtomicOutput.requireAbsent(path, unless: replace)
        var options = options
        options.name = options.name ?? adapter.name
        let files = try AdapterFiles(
            configuration: adapter.configuration, deltas: adapter.deltas,
            magnitudes: adapter.magnitudes, saved: adapter.tensors, task: adapter.task,
            type: options.type ?? .fp32, source: adapter.name)
        options.type = nil
        return try write(files, to: path, options: options)
    }

    private static func write(
        _ files: AdapterFiles, to path: String, options: Options
    ) throws -> BundleManifest {
        let files = try options.type.map { try files.converted(to: $0) } ?? files
        let name = options.name ?? Adapters.name(of: files.source)
        let adapter = try Adapter(files: files, name: name, manifest: nil, allowNoEffect: false)
        let factors: (name: String, bytes: FactorFile) =
            switch options.encoding {
            case .planes: (planesName, try BytePlanes.split(files.factors, source: files.source))
            case .portable: (AdapterFiles.factorsName, files.factors)
            }
        let configuration = BundleManifest.File(
            bytes: files.configuration.count, sha256: Digest.sha256(files.configuration))
        let manifest = BundleManifest(
            name: name, digest: adapter.digest,
            method: options.method ?? adapter.configuration.method,
            rank: adapter.configuration.rank, alpha: adapter.configuration.alpha,
            modules: adapter.moduleCount, parameters: adapter.parameterCount,
            encoding: options.encoding,
            files: [
                AdapterFiles.configurationName: configuration,
                factors.name: BundleManifest.File(factors.bytes.bytes),
            ],
            unpacked: [
                AdapterFiles.configurationName: configuration,
                AdapterFiles.factorsName: BundleManifest.File(files.factors.bytes),
            ],
            base: adapter.configuration.baseModel, baseDigest: options.baseDigest,
            tokenizerDigest: options.tokenizerDigest,
            chatTemplateDigest: options.chatTemplateDigest,
            training: options.training ?? files.task?.json)
        let text = Array(manifest.json.data(pretty: true)) + [0x0A]
        // The parts are bare pointers: what owns them must outlive the writing.
        try withExtendedLifetime(factors.bytes.owner) {
            try AtomicOutput.file(at: path) { output in
                try text.withUnsafeBytes { text in
                    try files.configuration.withUnsafeBytes { configuration in
                        let contents = [
                            (manifestName, text), (AdapterFiles.configurationName, configuration),
                            (factors.name, factors.bytes.bytes),
                        ]
                        try Tar.withParts(of: contents) { parts in
                            try Zstandard.compress(parts) { try output.write($0) }
                        }
                    }
                }
            }
        }
        return manifest
    }

    /// Unpacks the bundle at `path` into a PEFT folder, byte for byte what was packed.
    ///
    /// - Throws: `.exists`, and what `verify` throws; the folder appears whole or not at all.
    @discardableResult
    public static func unpack(
        _ path: String, to folder: String, replace: Bool = false,
        maximumBytes: Int = defaultMaximumBytes
    ) throws -> BundleManifest {
        try AtomicOutput.requireAbsent(folder, unless: replace)
        let (manifest, files) = try checked(path, maximumBytes: maximumBytes)
        try AtomicOutput.folder(at: folder, replace: replace) { try files.write(into: $0) }
        return manifest
    }

    /// The manifest of the bundle at `path`, whose files have the digests that it states.
    ///
    /// - Throws: as `verify`, but the factors themselves are not looked at.
    public static func inspect(
        _ path: String, maximumBytes: Int = defaultMaximumBytes
    ) throws -> BundleManifest {
        try BundleArchive(path: path, maximumBytes: maximumBytes).manifest
    }

    /// Reads the bundle at `path` as a load would and checks everything that needs no base.
    ///
    /// - Returns: the manifest.
    /// - Throws: `.malformed` for a file that is damaged, truncated or differs from its digest,
    ///   `.unsupported` for another format version or one past the limits, and what `Adapters.load`
    ///   throws for a bad adapter.
    @discardableResult
    public static func verify(
        _ path: String, maximumBytes: Int = defaultMaximumBytes
    ) throws -> BundleManifest {
        try checked(path, maximumBytes: maximumBytes).manifest
    }

    private static func checked(
        _ path: String, maximumBytes: Int
    ) throws -> (manifest: BundleManifest, files: AdapterFiles) {
        let archive = try BundleArchive(path: path, maximumBytes: maximumBytes)
        let files = try archive.adapterFiles()
        _ = try archive.adapter(files, name: nil)
        return (archive.manifest, files)
    }
}

extension BundleManifest.File {
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        self.init(bytes: bytes.count, sha256: Digest.sha256(bytes))
    }
}
