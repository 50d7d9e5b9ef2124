import Crypto
import Foundation
import LorikeetRuntime

/// An Ed25519 public key (RFC 8032): tells whether a bundle was signed by the one who has its private key.
public struct VerifyingKey: Sendable, Hashable {
    private static let label = "PUBLIC KEY"
    // RFC 8410: a SubjectPublicKeyInfo of id-Ed25519, up to the key itself.
    private static let prefix: [UInt8] = [
        0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00,
    ]

    /// The key [32].
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// Reads one key in PEM.
    ///
    /// - Throws: `.malformed` for anything but one block, `.unsupported` for a key that is no Ed25519 key.
    public init(pem text: String, source: String) throws {
        bytes = try PEM.key(Self.label, after: Self.prefix, count: 32, in: text, source: source)
    }

    /// Every key in PEM that `text` holds.
    static func all(in text: String, source: String) throws -> [VerifyingKey] {
        try PEM.blocks(label, in: text, source: source).map {
            VerifyingKey(bytes: try PEM.key($0, after: prefix, count: 32, source: source))
        }
    }

    /// The key as `openssl pkey -pubin` reads it.
    public var pem: String { PEM.text(Self.label, Self.prefix + bytes) }

    /// SHA-256 of the key's DER, as `openssl pkey -pubin -outform DER | sha256sum` gives it.
    public var fingerprint: String { Digest.sha256(Self.prefix + bytes) }

    /// Whether `signature` [64] is this key's of `message`.
    func isValid(_ signature: some Collection<UInt8>, for message: some Collection<UInt8>) -> Bool {
        // Any 32 bytes are taken for a key here; one that is no point signs nothing.
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: Data(bytes)) else {
            return false
        }
        return key.isValidSignature(Data(signature), for: Data(message))
    }
}
