import LorikeetRuntime

extension AdapterBundle {
    /// The signer's public key in PEM, beside the manifest.
    static let signerName = "manifest.json.pub"
    /// The Ed25519 signature [64] of the bytes of manifest.json, which states every digest.
    static let signatureName = "manifest.json.sig"

    /// Signs the bundle at `path`, in place of a signature that it has.
    ///
    /// All else in the bundle stays as it is, byte for byte.
    ///
    /// - Parameters:
    ///   - path: the bundle.
    ///   - key: the key to sign with.
    ///   - output: where the signed bundle goes, which may be `path`.
    /// - Returns: the manifest, with the signer.
    /// - Throws: what `verify` throws: a bad bundle is not signed.
    @discardableResult
    public static func sign(
        _ path: String, with key: SigningKey, to output: String
    ) throws -> BundleManifest {
        let archive = try BundleArchive(path: path, maximumBytes: defaultMaximumBytes)
        _ = try archive.adapter(archive.adapterFiles(), name: nil)
        let signature = try key.signature(of: archive.file(manifestName))
        let signer = Array(key.verifyingKey.pem.utf8)
        var manifest = archive.manifest
        manifest.signer = key.verifyingKey
        try AtomicOutput.file(at: output) { output in
            try archive.withFiles { files in
                try signer.withUnsafeBytes { signer in
                    try signature.withUnsafeBytes { signature in
                        var files = files
                        files.insert(
                            contentsOf: [(signerName, signer), (signatureName, signature)], at: 1)
                        try Tar.withParts(of: files) { parts in
                            try Zstandard.compress(parts) { try output.write($0) }
                        }
                    }
                }
            }
        }
        return manifest
    }
}
