public import LorikeetRuntime
import Synchronization

/// The base that adapters are loaded over: what they are checked against.
///
/// Its digest is computed once.
public final class AdapterBase: Sendable {
    private let modules: BlockModules
    private let check: @Sendable (_ adapter: Adapter, _ source: String) throws -> Void
    private let norms: RowNorms?
    private let digest: (@Sendable () throws -> String)?
    private let knownDigest = Mutex<String?>(nil)

    /// A base of these dimensions.
    ///
    /// - Parameters:
    ///   - configuration: the base's configuration.
    ///   - norms: the norms of its weights, for DoRA adapters; nil refuses these.
    ///   - digest: the base's digest, asked for once, by the first bundle that states its own; nil accepts
    ///     a bundle of any base that fits.
    public convenience init(
        _ configuration: ModelConfiguration, norms: RowNorms? = nil,
        digest: (@Sendable () throws -> String)? = nil
    ) {
        self.init(configuration.modules, norms: norms, digest: digest) {
            try $0.check(against: configuration, source: $1)
        }
    }

    private init(
        _ modules: BlockModules, norms: RowNorms?, digest: (@Sendable () throws -> String)?,
        check: @escaping @Sendable (Adapter, String) throws -> Void
    ) {
        (self.modules, self.norms, self.digest, self.check) = (modules, norms, digest, check)
    }

    /// `model` as a base, with every check.
    public convenience init(_ model: LanguageModel) {
        self.init(
            model.model.configuration, norms: RowNorms(model.model, on: model.compute)
        ) { try model.baseDigest() }
    }

    /// `encoder` as a base, with every check.
    public convenience init(_ encoder: TextEncoder) {
        let (model, checkpoint) = (encoder.model, encoder.checkpoint)
        self.init(
            model.configuration.modules,
            norms: RowNorms(on: encoder.compute) { model.weight(at: $0) },
            digest: { try BaseDigest.of(checkpoint) }
        ) { try $0.check(against: model.configuration, source: $1) }
    }

    /// Computes the digest, so that the first load is as fast as the others; reads the whole base.
    ///
    /// - Throws: what reading the checkpoint throws.
    public func prepare() throws {
        if digest != nil { _ = try baseDigest() }
    }

    /// How many linear layers an adapter could have terms at.
    var moduleCount: Int { modules.layerCount * modules.entries.count }

    /// Reads the adapter at `path` and checks all that can be checked without running it.
    ///
    /// - Throws: what `Adapters.load` throws.
    func load(
        _ path: String, name: String, allowOtherBase: Bool, trustedKeys: TrustedKeys?,
        maximumBytes: Int
    ) throws -> Adapter {
        try Adapters.load(
            path, norms: norms,
            baseDigest: digest == nil ? nil : { try self.baseDigest() }, name: name,
            allowOtherBase: allowOtherBase, trustedKeys: trustedKeys, maximumBytes: maximumBytes
        ) { try check($0, path) }
    }

    private func baseDigest() throws -> String {
        // Who comes meanwhile would have to read the same.
        try knownDigest.withLock { known in
            let value = try known ?? digest?() ?? ""
            known = value
            return value
        }
    }
}
