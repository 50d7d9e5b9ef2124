import Foundation
public import LorikeetRuntime

/// What a registry knows of one name.
public struct AdapterStatus: Sendable {
    /// Where the current version is.
    public enum State: String, Sendable {
        /// In memory.
        case resident
        /// On disk: the next request loads it.
        case onDisk = "on disk"
        /// On its way.
        case loading
        /// Nowhere: `failure` says why.
        case failed
    }

    /// The name.
    public let name: String
    /// Where the current version is.
    public let state: State
    /// The current version; nil before the first load succeeded.
    public let version: AdapterVersion?
    /// The digests of earlier versions that can still be asked for.
    public let earlier: [String]
    /// Why the last load failed, which left the version before; nil after one that succeeded.
    public let failure: String?
    /// How often it was loaded, on demand too.
    public let loads: Int
    /// How often it was let go of for want of memory.
    public let evictions: Int
    /// How many requests asked for it, alone or in a blend.
    public let uses: Int
}

extension AdapterStatus {
    /// The status with the keys that GET /v1/models shows of an adapter.
    ///
    /// Keys: name, state, failure, digest, path, rank, method, modules_applied, modules_total, bytes, loaded
    /// (seconds since 1970), base, base_digest, signer (a key's fingerprint), training, earlier, loads,
    /// evictions, uses. What is unknown is null.
    public var json: JSON {
        func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
        func number(_ value: Int?) -> JSON { value.map { .int($0) } ?? .null }
        return [
            "name": .string(name),
            "state": .string(state.rawValue),
            "failure": text(failure),
            "digest": text(version?.digest),
            "path": text(version?.path),
            "rank": number(version?.rank),
            "method": text(version?.method),
            "modules_applied": number(version?.modules),
            "modules_total": number(version?.baseModules),
            "bytes": number(version?.memory),
            "loaded": number((version?.loaded.timeIntervalSince1970).map { Int($0) }),
            "base": text(version?.base),
            "base_digest": text(version?.baseDigest),
            "signer": text(version?.signer?.fingerprint),
            "training": version?.training ?? .null,
            "earlier": .array(earlier.map { .string($0) }),
            "loads": .int(loads),
            "evictions": .int(evictions),
            "uses": .int(uses),
        ]
    }
}
