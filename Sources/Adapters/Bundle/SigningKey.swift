import Crypto
import Foundation
import LorikeetRuntime

/// An Ed25519 private key, which signs bundles.
///
/// ```swift
/// let key = SigningKey()
/// try key.write(to: "release.pem")
/// try AdapterBundle.sign("pirate.lorikeet", with: key)
/// ```
public struct SigningKey: Sendable {
    private static let label = "PRIVATE KEY"
    // RFC 8410: a PrivateKeyInfo of id-Ed25519, up to the key itself.
    private static let prefix: [UInt8] = [
        0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ]

    private let key: Curve25519.Signing.PrivateKey

    /// Makes a new key from the system's random numbers.
    public init() { key = Curve25519.Signing.PrivateKey() }

    /// Reads the key in the PEM file at `path`, as `write` or `openssl genpkey` left it.
    ///
    /// - Throws: `.notFound`, `.malformed`; `.unsupported` for another kind of key.
    public init(path: String) throws {
        let text = try TextFile.read(path)
        let bytes = try PEM.key(
            Self.label, after: Self.prefix, count: 32, in: text, source: path)
        key = try Curve25519.Signing.PrivateKey(rawRepresentation: Data(bytes))
    }

    /// The key that tells this one's signatures.
    public var verifyingKey: VerifyingKey {
        VerifyingKey(bytes: Array(key.publicKey.rawRepresentation))
    }

    /// Writes the key to `path`, which its owner alone may read, and its public half to `path.pub`.
    ///
    /// - Throws: `.exists`, `.io`.
    public func write(to path: String, replace: Bool = false) throws {
        for file in [path, path + ".pub"] { try AtomicOutput.requireAbsent(file, unless: replace) }
        let text = PEM.text(Self.label, Self.prefix + Array(key.rawRepresentation))
        try AtomicOutput.file(at: path, permissions: 0o600) { try $0.write(Array(text.utf8)) }
        try AtomicOutput.write(Array(verifyingKey.pem.utf8), to: path + ".pub")
    }

    /// The signature [64] of `message`.
    func signature(of message: some Collection<UInt8>) throws -> [UInt8] {
        Array(try key.signature(for: Data(message)))
    }
}

/// A short text file, read whole.
enum TextFile {
    // A thousand keys; nobody's model is taken for text.
    private static let most = 1 << 20

    static func read(_ path: String) throws -> String {
        let file = try MappedFile(path: path)
        guard file.bytes.count <= most else {
            throw LorikeetError(
                .unsupported, path, "too large for a file of keys",
                expected: "at most \(most) bytes", got: "\(file.bytes.count)")
        }
        guard
            let text = withExtendedLifetime(
                file, { String(validating: file.bytes, as: UTF8.self) })
        else { throw LorikeetError(.malformed, path, "not text in UTF-8") }
        return text
    }
}
