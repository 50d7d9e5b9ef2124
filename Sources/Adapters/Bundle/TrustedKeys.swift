import LorikeetRuntime

/// The keys whose signatures count: a bundle signed by none of them is refused.
///
/// The file is what `lorikeet bundle keygen` leaves as NAME.pub, one after another; text between the
/// blocks is not looked at.
public struct TrustedKeys: Sendable {
    /// The keys, in the order of the file.
    public let keys: [VerifyingKey]

    /// Trusts `keys`.
    public init(_ keys: [VerifyingKey]) { self.keys = keys }

    /// Reads the file at `path`.
    ///
    /// - Throws: `.notFound`, `.unsupported`; `.malformed` also for a file without a key.
    public init(path: String) throws {
        keys = try VerifyingKey.all(in: TextFile.read(path), source: path)
        guard !keys.isEmpty else {
            throw LorikeetError(
                .malformed, path, "no key is there", expected: "public keys in PEM",
                advice: "Give what lorikeet bundle keygen wrote as NAME.pub.")
        }
    }

    /// Refuses an adapter that none of the keys signed.
    ///
    /// - signer: the key that signed it, nil for none.
    /// - Throws: `.mismatch`, naming the trusted keys and the signer.
    public func require(_ signer: VerifyingKey?, source: String) throws {
        guard let signer, keys.contains(signer) else {
            throw LorikeetError(
                .mismatch, source,
                signer == nil ? "not signed" : "signed by a key that is not trusted",
                expected: "a signature by \(keys.map(\.fingerprint).joined(separator: " or "))",
                got: signer?.fingerprint ?? "none",
                advice: "lorikeet bundle sign signs bundles; a PEFT folder has to be packed first.")
        }
    }
}
