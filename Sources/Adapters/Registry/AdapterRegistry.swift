public import LorikeetRuntime
import Synchronization

/// The adapters that are loaded over one base, by name; any thread may ask and any may change it.
///
/// A load reads, checks and converts before it takes its place, which is the exchange of one reference:
/// whoever got an adapter before keeps that version for as long as it holds it. No name means the base
/// itself.
///
/// ```swift
/// let registry = AdapterRegistry(model: model.configuration) { try BaseDigest.of(checkpoint) }
/// try registry.load(name: "pirate", path: "pirate.lorikeet")
/// let adapter = try registry.adapter("pirate")
/// ```
public final class AdapterRegistry: Sendable {
    private let model: ModelConfiguration
    private let norms: RowNorms?
    private let baseDigest: (@Sendable () throws -> String)?
    private let digest = Mutex<String?>(nil)
    private let adapters = Mutex<[String: Adapter]>([:])

    /// Creates an empty registry over a base.
    ///
    /// - Parameters:
    ///   - model: the base's configuration.
    ///   - norms: the norms of its weights, for DoRA adapters; nil refuses these. What loads have in common
    ///     is computed once, by the first.
    ///   - baseDigest: the base's digest, asked for once, by the first bundle that states its own; nil
    ///     accepts a bundle of any base that fits.
    public init(
        model: ModelConfiguration, norms: RowNorms? = nil,
        baseDigest: (@Sendable () throws -> String)? = nil
    ) {
        self.model = model
        self.norms = norms
        self.baseDigest = baseDigest
    }

    /// Loads the PEFT folder or bundle at `path` as `name`, in place of one that has the name already.
    ///
    /// - Returns: the adapter.
    /// - Throws: what `Adapters.load` throws; the registry is as it was.
    @discardableResult
    public func load(name: String, path: String, allowOtherBase: Bool = false) throws -> Adapter {
        let adapter = try Adapters.load(
            path, for: model, norms: norms,
            baseDigest: baseDigest == nil ? nil : { try self.knownDigest() },
            name: name, allowOtherBase: allowOtherBase)
        adapters.withLock { $0[name] = adapter }
        return adapter
    }

    /// Forgets the adapter of that name.
    ///
    /// - Throws: `.notFound`.
    public func unload(name: String) throws {
        guard adapters.withLock({ $0.removeValue(forKey: name) }) != nil else {
            throw missing(name)
        }
    }

    /// The adapter of that name as it is now, or nil.
    public subscript(name: String) -> Adapter? { adapters.withLock { $0[name] } }

    /// The adapter of that name as it is now; nil for no name: the base itself.
    ///
    /// - Throws: `.notFound`, with the names there are.
    public func adapter(_ name: String?) throws -> Adapter? {
        guard let name else { return nil }
        guard let adapter = self[name] else { throw missing(name) }
        return adapter
    }

    /// The names in use, sorted.
    public var names: [String] { adapters.withLock { $0.keys.sorted() } }

    private func missing(_ name: String) -> LorikeetError {
        let names = names
        return LorikeetError(
            .notFound, name, "no adapter of that name is loaded",
            expected: names.isEmpty ? nil : "one of \(names.joined(separator: ", "))")
    }

    private func knownDigest() throws -> String {
        try digest.withLock { known in
            if let known { return known }
            let digest = try baseDigest?() ?? ""
            known = digest
            return digest
        }
    }
}
