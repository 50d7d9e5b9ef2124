public import LorikeetRuntime
import OrderedCollections

/// `manifest.json`, a bundle's first file: what it holds, what it was trained over, and every digest.
public struct BundleManifest: Sendable, Equatable {
    /// How the factors are stored.
    public enum Encoding: String, Sendable {
        /// Byte planes, in `adapter_model.planes.safetensors`.
        case planes
        /// PEFT's own `adapter_model.safetensors`, for readers that know only tar and zstd.
        case portable
    }

    /// Size and digest of a file.
    public struct File: Sendable, Equatable {
        /// Its size.
        public var bytes: Int
        /// SHA-256 of its bytes.
        public var sha256: String
    }

    /// The version of the format that this library writes and reads.
    public static let formatVersion = 1

    /// The adapter's name, for people; its identity is `digest`.
    public var name: String
    /// The identity of the adapter, `Adapter.digest`.
    public var digest: String
    /// The training method: lora, rslora, reflora, ….
    public var method: String
    /// The configuration's r.
    public var rank: Int
    /// The configuration's lora_alpha.
    public var alpha: Double
    /// Number of modules with a term.
    public var modules: Int
    /// Number of factor elements, and of DoRA's magnitudes.
    public var parameters: Int
    /// How the factors are stored.
    public var encoding: Encoding
    /// The files of the archive after this one, by name.
    public var files: [String: File]
    /// The files that `AdapterBundle.unpack` gives, by name.
    public var unpacked: [String: File]
    /// What adapter_config.json calls the base.
    public var base: String?
    /// `BaseDigest` of the base; nil when it was not known.
    public var baseDigest: String?
    /// SHA-256 of the base's vocabulary: tokenizer.json, or the file that is there instead.
    public var tokenizerDigest: String?
    /// SHA-256 of the base's chat template.
    public var chatTemplateDigest: String?
    /// What the trainer says of the training.
    public var training: JSON?
    /// Who signed the bundle that it was read from; no part of manifest.json.
    public var signer: VerifyingKey?
}

extension BundleManifest {
    private static let format = "lorikeet-adapter"

    /// Reads a manifest.
    ///
    /// - Throws: `.malformed` for a missing or wrong key, `.unsupported` for another format version.
    public init(json: JSON, source: String) throws {
        func failure(_ key: String, _ expected: String) -> LorikeetError {
            LorikeetError(
                .malformed, source, "the manifest's \(key)", expected: expected,
                got: json[key]?.text() ?? "nothing")
        }
        func required<Value>(
            _ key: String, _ expected: String, _ value: (JSON) -> Value?
        ) throws -> Value {
            guard let value = json[key].flatMap(value) else { throw failure(key, expected) }
            return value
        }
        func optional<Value>(
            _ key: String, _ expected: String, _ value: (JSON) -> Value?
        ) throws -> Value? {
            json[key]?.isNull ?? true ? nil : try required(key, expected, value)
        }
        func digest(_ json: JSON) -> String? {
            json.string.flatMap { Digest.isValid($0) ? $0 : nil }
        }
        func count(_ json: JSON) -> Int? { json.int.flatMap { $0 >= 0 ? $0 : nil } }
        func files(_ json: JSON) -> [String: File]? {
            guard let members = json.object else { return nil }
            var files: [String: File] = [:]
            for (name, file) in members {
                guard let bytes = file["bytes"].flatMap(count),
                    let sha256 = file["sha256"].flatMap(digest)
                else { return nil }
                files[name] = File(bytes: bytes, sha256: sha256)
            }
            return files
        }

        let format = try required("format", "\"\(Self.format)\"", \.string)
        guard format == Self.format else { throw failure("format", "\"\(Self.format)\"") }
        let version = try required("format_version", "a number", \.int)
        guard version == Self.formatVersion else {
            throw LorikeetError(
                .unsupported, source, "the bundle's format version",
                expected: "\(Self.formatVersion)", got: "\(version)",
                advice: "Read it with the Lorikeet that wrote it.")
        }
        name = try required("name", "a string", \.string)
        self.digest = try required("digest", "64 hexadecimal digits", digest)
        method = try required("method", "a string", \.string)
        rank = try required("rank", "a number", count)
        alpha = try required("alpha", "a number", \.double)
        modules = try required("modules", "a number", count)
        parameters = try required("parameters", "a number", count)
        encoding = try required("encoding", "planes or portable") {
            $0.string.flatMap(Encoding.init)
        }
        self.files = try required("files", "sizes and digests of files", files)
        unpacked = try required("unpacked", "sizes and digests of files", files)
        base = try optional("base", "a string", \.string)
        baseDigest = try optional("base_digest", "64 hexadecimal digits", digest)
        tokenizerDigest = try optional("tokenizer_digest", "64 hexadecimal digits", digest)
        chatTemplateDigest = try optional("chat_template_digest", "64 hexadecimal digits", digest)
        training = try optional("training", "a value") { $0 }
    }

    /// The manifest's content.
    public var json: JSON {
        func list(_ files: [String: File]) -> JSON {
            let sorted = files.sorted { $0.key < $1.key }.map { name, file in
                (name, ["bytes": .int(file.bytes), "sha256": .string(file.sha256)] as JSON)
            }
            return .object(OrderedDictionary(uniqueKeysWithValues: sorted))
        }
        func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
        return [
            "format": .string(Self.format),
            "format_version": .int(Self.formatVersion),
            "name": .string(name),
            "digest": .string(digest),
            "method": .string(method),
            "rank": .int(rank),
            "alpha": Int(exactly: alpha).map { .int($0) } ?? .double(alpha),
            "modules": .int(modules),
            "parameters": .int(parameters),
            "encoding": .string(encoding.rawValue),
            "files": list(files),
            "unpacked": list(unpacked),
            "base": text(base),
            "base_digest": text(baseDigest),
            "tokenizer_digest": text(tokenizerDigest),
            "chat_template_digest": text(chatTemplateDigest),
            "training": training ?? .null,
        ]
    }
}
