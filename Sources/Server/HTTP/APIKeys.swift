import Crypto
import Foundation
import LorikeetRuntime

/// Who may ask, and what for.
public struct APIKey: Sendable {
    /// What logs call its holder.
    public var name: String
    /// The adapters that it may call, the base under its name among them; nil for all.
    public var adapters: Set<String>?
    /// Whether it may load and unload adapters.
    public var mayLoad: Bool

    /// Whether it may call `adapter`, whichever version of it.
    func mayCall(_ adapter: String) -> Bool {
        guard let adapters else { return true }
        return adapters.contains(String(adapter.prefix { $0 != "@" }))
    }
}

/// The keys of a file.
///
/// ```json
/// {"keys": [
///     {"key": "sk-one", "name": "operator", "load": true},
///     {"sha256": "9f86d0…", "name": "guest", "adapters": ["pirate"]}
/// ]}
/// ```
public struct APIKeys: Sendable {
    // Digests, so that no comparison's time tells of a key.
    private var entries: [(digest: [UInt8], key: APIKey)] = []

    /// Reads a file of keys.
    ///
    /// - Throws: `.notFound`, `.io`, `.malformed`.
    public init(contentsOf path: String) throws {
        let json = try JSON(contentsOf: path)
        guard let keys = json["keys"]?.array, !keys.isEmpty else {
            throw LorikeetError(
                .malformed, path, "names no keys", expected: "{\"keys\": [{\"key\": …}]}")
        }
        for (index, json) in keys.enumerated() {
            entries.append(try Self.entry(json, name: "keys[\(index)]", in: path))
        }
        guard Set(entries.map(\.digest)).count == entries.count else {
            throw LorikeetError(.malformed, path, "names a key twice")
        }
    }

    /// What `key` allows; nil for one that is not in the file.
    ///
    /// Compares with all keys, every byte of each, whatever it finds.
    func find(_ key: String) -> APIKey? {
        let digest = Array(SHA256.hash(data: Data(key.utf8)))
        var found: APIKey?
        for entry in entries {
            let difference = zip(entry.digest, digest).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
            if difference == 0 { found = entry.key }
        }
        return found
    }

    private static func entry(
        _ json: JSON, name: String, in path: String
    ) throws -> (digest: [UInt8], key: APIKey) {
        func fail(_ field: String, _ expected: String) -> LorikeetError {
            LorikeetError(
                .malformed, path, "\(name).\(field) is not right", expected: expected,
                got: json[field]?.kind ?? "none")
        }
        guard let object = json.object else {
            throw LorikeetError(
                .malformed, path, "\(name) is not right", expected: "an object", got: json.kind)
        }
        // A misspelt "adapters" must not allow everything.
        let known = ["key", "sha256", "name", "adapters", "load"]
        if let other = object.keys.first(where: { !known.contains($0) }) {
            throw LorikeetError(
                .malformed, path, "\(name) has the unknown member \"\(other)\"",
                expected: known.joined(separator: ", "))
        }
        let digest: [UInt8]
        switch (json["key"], json["sha256"]) {
        case (.string(let key)?, nil) where !key.isEmpty:
            digest = Array(SHA256.hash(data: Data(key.utf8)))
        case (nil, .string(let text)?):
            guard let bytes = bytes(ofHexadecimal: text) else {
                throw fail("sha256", "64 hexadecimal digits")
            }
            digest = bytes
        default: throw fail("key", "a string, or \"sha256\" instead")
        }
        var adapters: Set<String>?
        if let value = json["adapters"] {
            guard let names = value.array, names.allSatisfy({ $0.string != nil }) else {
                throw fail("adapters", "an array of names")
            }
            adapters = Set(names.compactMap(\.string))
        }
        guard json["load"] == nil || json["load"]?.bool != nil else {
            throw fail("load", "a boolean")
        }
        guard json["name"] == nil || json["name"]?.string != nil else {
            throw fail("name", "a string")
        }
        let key = APIKey(
            name: json["name"]?.string ?? name, adapters: adapters,
            mayLoad: json["load"]?.bool ?? false)
        return (digest, key)
    }

    private static func bytes(ofHexadecimal text: String) -> [UInt8]? {
        let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == 64, text.utf8.count == 64 else { return nil }
        return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}
