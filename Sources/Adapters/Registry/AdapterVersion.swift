public import Foundation
public import LorikeetRuntime

/// What is known of one content that a name has or had, whether it is in memory or not.
public struct AdapterVersion: Sendable {
    /// The adapter's digest.
    public let digest: String
    /// The PEFT folder or bundle it was loaded from.
    public let path: String
    /// The configuration's r.
    public let rank: Int
    /// The training method.
    public let method: String
    /// Number of the base's modules that it changes.
    public let modules: Int
    /// Number of the base's modules that it could change.
    public let baseModules: Int
    /// Bytes in memory.
    public let memory: Int
    /// When it was loaded first.
    public let loaded: Date
    /// What it calls its base.
    public let base: String?
    /// The digest of its base, where its bundle states one.
    public let baseDigest: String?
    /// What its bundle says of the training.
    public let training: JSON?
    /// Who signed its bundle.
    public let signer: VerifyingKey?

    let isFolder: Bool
    let allowsOtherBase: Bool

    init(
        _ adapter: Adapter, memory: Int, over base: AdapterBase, path: String, allowsOtherBase: Bool
    ) {
        digest = adapter.digest
        self.path = path
        rank = adapter.configuration.rank
        method = adapter.manifest?.method ?? adapter.configuration.method
        modules = adapter.moduleCount
        baseModules = base.moduleCount
        self.memory = memory
        loaded = Date()
        self.base = adapter.manifest?.base ?? adapter.configuration.baseModel
        baseDigest = adapter.manifest?.baseDigest
        training = adapter.manifest?.training
        signer = adapter.manifest?.signer
        isFolder = adapter.manifest == nil
        self.allowsOtherBase = allowsOtherBase
    }
}
