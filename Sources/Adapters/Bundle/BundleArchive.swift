import LorikeetQuant
import LorikeetRuntime

/// A bundle's content, decompressed and split into its files, each with the digest the manifest states.
struct BundleArchive {
    let path: String
    let manifest: BundleManifest
    private let bytes: [UInt8]
    private let ranges: [String: Range<Int>]

    /// Reads the bundle at `path`.
    ///
    /// - Throws: `.malformed` or `.unsupported`; see `AdapterBundle.verify`.
    init(path: String, maximumBytes: Int) throws {
        let file = try MappedFile(path: path)
        let bytes = try withExtendedLifetime(file) {
            try Zstandard.decompress(file.bytes, maximumBytes: maximumBytes, source: path)
        }
        var files = try Tar.files(in: bytes, source: path)
        guard files.first?.name == AdapterBundle.manifestName else {
            throw LorikeetError(
                .malformed, path, "the bundle's first file", expected: AdapterBundle.manifestName,
                got: files.first?.name ?? "nothing")
        }
        let place = path + "/" + AdapterBundle.manifestName
        let content = files.removeFirst().content
        let json = try bytes.withUnsafeBytes {
            try JSON(parsing: UnsafeRawBufferPointer(rebasing: $0[content]), source: place)
        }
        let manifest = try BundleManifest(json: json, source: place)

        let expected = Set([AdapterFiles.configurationName, Self.factorsName(manifest)])
        let got = Set(files.map(\.name))
        guard got == expected, Set(manifest.files.keys) == expected else {
            throw LorikeetError(
                .malformed, path, "the bundle's files",
                expected: expected.sorted().joined(separator: ", "),
                got: got == expected
                    ? "a manifest that lists \(manifest.files.keys.sorted().joined(separator: ", "))"
                    : got.sorted().joined(separator: ", "))
        }
        for (name, content) in files {
            try bytes.withUnsafeBytes {
                try Self.check(
                    UnsafeRawBufferPointer(rebasing: $0[content]), name, manifest.files, path)
            }
        }
        self.path = path
        self.manifest = manifest
        self.bytes = bytes
        ranges = Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0.content) })
    }

    /// PEFT's two files, restored from the planes where need be.
    ///
    /// - Throws: `.malformed` when they are not what was packed.
    func adapterFiles() throws -> AdapterFiles {
        let stored = Buffer<UInt8>(bytes[range(Self.factorsName(manifest))])
        var factors = try FactorFile(
            bytes: UnsafeRawBufferPointer(stored.elements), owner: stored, source: path)
        if manifest.encoding == .planes { factors = try BytePlanes.join(factors, source: path) }
        let configuration = Array(bytes[range(AdapterFiles.configurationName)])
        try Self.check(factors.bytes, AdapterFiles.factorsName, manifest.unpacked, path)
        try configuration.withUnsafeBytes {
            try Self.check($0, AdapterFiles.configurationName, manifest.unpacked, path)
        }
        return AdapterFiles(configuration: configuration, factors: factors, source: path)
    }

    /// The adapter in `files`, called `name` or else as the manifest calls it.
    ///
    /// - Throws: `.malformed` when its digest is not the one that the manifest states, and what
    ///   `Adapters.load` throws for a bad adapter.
    func adapter(_ files: AdapterFiles, name: String?) throws -> Adapter {
        let adapter = try Adapter(
            files: files, name: name ?? manifest.name, manifest: manifest, allowNoEffect: false)
        guard adapter.digest == manifest.digest else {
            throw LorikeetError(
                .malformed, path, "the adapter's digest", expected: manifest.digest,
                got: adapter.digest)
        }
        let statements: [(key: String, stated: Double, got: Double)] = [
            ("rank", Double(manifest.rank), Double(adapter.configuration.rank)),
            ("alpha", manifest.alpha, adapter.configuration.alpha),
            ("modules", Double(manifest.modules), Double(adapter.moduleCount)),
            ("parameters", Double(manifest.parameters), Double(adapter.parameterCount)),
        ]
        for (key, stated, got) in statements where stated != got {
            throw LorikeetError(
                .malformed, path, "the manifest's \(key)", expected: "\(got)", got: "\(stated)")
        }
        return adapter
    }

    private static func factorsName(_ manifest: BundleManifest) -> String {
        switch manifest.encoding {
        case .planes: AdapterBundle.planesName
        case .portable: AdapterFiles.factorsName
        }
    }

    private func range(_ name: String) -> Range<Int> { ranges[name] ?? 0..<0 }

    private static func check(
        _ bytes: UnsafeRawBufferPointer, _ name: String, _ files: [String: BundleManifest.File],
        _ path: String
    ) throws {
        guard let stated = files[name] else {
            throw LorikeetError(
                .malformed, path, "the manifest does not state the digest of \(name)")
        }
        guard bytes.count == stated.bytes else {
            throw LorikeetError(
                .malformed, path, "the size of \(name)", expected: "\(stated.bytes) bytes",
                got: "\(bytes.count)")
        }
        let digest = Digest.sha256(bytes)
        guard digest == stated.sha256 else {
            throw LorikeetError(
                .malformed, path, "the digest of \(name)", expected: stated.sha256, got: digest,
                advice: "The bundle was damaged or changed; get it again.")
        }
    }
}
