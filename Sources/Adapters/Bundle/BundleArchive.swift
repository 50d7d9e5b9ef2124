import LorikeetQuant
import LorikeetRuntime

/// A bundle's content, decompressed and split into its files, each with the digest the manifest states.
///
/// A load is spared the digests of the factors' file, stored and restored, which would be half of its time:
/// the adapter's own digest covers every number.
struct BundleArchive {
    let path: String
    let manifest: BundleManifest
    // Whether the factors' file is hashed.
    private let isComplete: Bool
    private let bytes: Buffer<UInt8>
    // A signature's left out, once it was found to be right.
    private let files: [(name: String, content: Range<Int>)]

    /// Reads the bundle at `path`.
    ///
    /// - isComplete: whether the file of factors is hashed, beside the others.
    /// - Throws: `.malformed` or `.unsupported`; see `AdapterBundle.verify`.
    init(path: String, maximumBytes: Int, isComplete: Bool = true) throws {
        let file = try MappedFile(path: path)
        let bytes = try withExtendedLifetime(file) {
            try Zstandard.decompress(file.bytes, maximumBytes: maximumBytes, source: path)
        }
        let contents = UnsafeBufferPointer(bytes.elements)
        var files = try Tar.files(in: contents, source: path)
        guard files.first?.name == AdapterBundle.manifestName else {
            throw LorikeetError(
                .malformed, path, "the bundle's first file", expected: AdapterBundle.manifestName,
                got: files.first?.name ?? "nothing")
        }
        let place = path + "/" + AdapterBundle.manifestName
        let content = files.removeFirst().content
        let json = try JSON(parsing: bytes.raw(content), source: place)
        var manifest = try BundleManifest(json: json, source: place)
        manifest.signer = try Self.signer(of: content, in: contents, files: &files, path: path)

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
            try Self.check(
                bytes.raw(content), name, manifest.files, path,
                isHashed: isComplete || name == AdapterFiles.configurationName)
        }
        self.isComplete = isComplete
        self.path = path
        self.manifest = manifest
        self.bytes = bytes
        self.files = [(AdapterBundle.manifestName, content)] + files
    }

    /// Who signed the manifest, whose two files are taken out of `files`; nil when nobody did.
    private static func signer(
        of manifest: Range<Int>, in bytes: UnsafeBufferPointer<UInt8>,
        files: inout [(name: String, content: Range<Int>)], path: String
    ) throws -> VerifyingKey? {
        func take(_ name: String) -> Slice<UnsafeBufferPointer<UInt8>>? {
            guard let index = files.firstIndex(where: { $0.name == name }) else { return nil }
            return bytes[files.remove(at: index).content]
        }
        let (pem, signature) = (
            take(AdapterBundle.signerName), take(AdapterBundle.signatureName)
        )
        guard pem != nil || signature != nil else { return nil }
        guard let pem, let signature else {
            throw LorikeetError(
                .malformed, path, "half a signature",
                expected: "\(AdapterBundle.signerName) and \(AdapterBundle.signatureName)")
        }
        let signer = try VerifyingKey(
            pem: String(decoding: pem, as: UTF8.self),
            source: path + "/" + AdapterBundle.signerName)
        guard signer.isValid(signature, for: bytes[manifest]) else {
            throw LorikeetError(
                .malformed, path, "the signature is not of this manifest",
                expected: "one by \(signer.fingerprint)",
                advice: "The bundle was changed after it was signed; get it again.")
        }
        return signer
    }

    /// The bytes of the file `name`; none if there is no such file.
    func file(_ name: String) -> [UInt8] { Array(bytes.elements[range(name)]) }

    /// Calls `body` with the names and bytes of the files, in order, without a signature's.
    func withFiles<Result>(
        _ body: ([(name: String, content: UnsafeRawBufferPointer)]) throws -> Result
    ) rethrows -> Result {
        try withExtendedLifetime(bytes) {
            try body(files.map { ($0.name, bytes.raw($0.content)) })
        }
    }

    /// The adapter, called `name` or else as the manifest calls it; planes are joined where its numbers lie.
    ///
    /// - Throws: what `adapterFiles()` and `adapter(_:name:)` throw; `.malformed` rather than another error
    ///   when the file of factors was damaged.
    func adapter(name: String?) throws -> Adapter {
        do {
            let (stored, configuration) = try (storedFactors(), configuration())
            guard manifest.encoding == .planes else {
                return try adapter(configuration, stored.factors, name: name)
            }
            let (header, factors) = try BytePlanes.factors(of: stored, source: path)
            _ = try Self.statement(
                of: AdapterFiles.factorsName,
                size: factors.reduce(8 + header.utf8.count) { $0 + $1.size }, manifest.unpacked,
                path)
            return try adapter(configuration, factors, name: name)
        } catch {
            let factors = Self.factorsName(manifest)
            try Self.check(bytes.raw(range(factors)), factors, manifest.files, path)
            throw error
        }
    }

    /// PEFT's two files, restored from the planes where need be.
    ///
    /// - Throws: `.malformed` when they are not what was packed.
    func adapterFiles() throws -> AdapterFiles {
        var factors = try storedFactors()
        if manifest.encoding == .planes { factors = try BytePlanes.join(factors, source: path) }
        try Self.check(
            factors.bytes, AdapterFiles.factorsName, manifest.unpacked, path, isHashed: isComplete)
        return AdapterFiles(
            configuration: try configuration(), factors: factors, task: task, source: path)
    }

    // What the training made its head judge.
    private var task: SequenceTask? { manifest.training.flatMap(SequenceTask.init) }

    /// The adapter in `files`, called `name` or else as the manifest calls it.
    ///
    /// - Throws: `.malformed` when its digest is not the one that the manifest states, and what
    ///   `Adapters.load` throws for a bad adapter.
    func adapter(_ files: AdapterFiles, name: String?) throws -> Adapter {
        try adapter(files.configuration, files.factors.factors, name: name)
    }

    /// The file of factors, or of their planes, where it lies.
    private func storedFactors() throws -> FactorFile {
        try FactorFile(
            bytes: bytes.raw(range(Self.factorsName(manifest))), owner: bytes, source: path)
    }

    private func configuration() throws -> [UInt8] {
        let content = bytes.raw(range(AdapterFiles.configurationName))
        try Self.check(content, AdapterFiles.configurationName, manifest.unpacked, path)
        return Array(content)
    }

    private func adapter(
        _ configuration: [UInt8], _ factors: [StoredFactor], name: String?
    ) throws -> Adapter {
        let adapter = try Adapter(
            configuration: configuration, factors: factors, source: path,
            name: name ?? manifest.name, task: task, manifest: manifest, allowNoEffect: false)
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

    private func range(_ name: String) -> Range<Int> {
        files.first { $0.name == name }?.content ?? 0..<0
    }

    private static func check(
        _ bytes: UnsafeRawBufferPointer, _ name: String, _ files: [String: BundleManifest.File],
        _ path: String, isHashed: Bool = true
    ) throws {
        let stated = try statement(of: name, size: bytes.count, files, path)
        guard isHashed else { return }
        let digest = Digest.sha256(bytes)
        guard digest == stated.sha256 else {
            throw LorikeetError(
                .malformed, path, "the digest of \(name)", expected: stated.sha256, got: digest,
                advice: "The bundle was damaged or changed; get it again.")
        }
    }

    /// What the manifest states of a file that has this size.
    private static func statement(
        of name: String, size: Int, _ files: [String: BundleManifest.File], _ path: String
    ) throws -> BundleManifest.File {
        guard let stated = files[name] else {
            throw LorikeetError(
                .malformed, path, "the manifest does not state the digest of \(name)")
        }
        guard size == stated.bytes else {
            throw LorikeetError(
                .malformed, path, "the size of \(name)", expected: "\(stated.bytes) bytes",
                got: "\(size)")
        }
        return stated
    }
}

extension Buffer<UInt8> {
    /// Some of the bytes; the pointer does not keep them.
    fileprivate func raw(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(elements)[range])
    }
}
