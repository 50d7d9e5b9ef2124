import Foundation
public import LorikeetRuntime
import Synchronization

/// The adapters that are loaded over one base, by name; any thread may ask and any may change it.
///
/// A load reads, checks, probes and prepares before it takes its place, which is the exchange of one
/// reference: whoever got an adapter before keeps that version for as long as it holds it. What fails leaves
/// the version before.
///
/// ```swift
/// let registry = AdapterRegistry(model)
/// try registry.load(name: "pirate", path: "pirate.lorikeet")
/// let served = try registry.acquire(AdapterReference("pirate"))
/// ```
///
/// No lock is held while an adapter is read. Adapters past `maximumMemory` are let go of, but for those that
/// a request holds; the next request for one loads it again, and only those that want it wait.
public final class AdapterRegistry<Prepared: Sendable>: Sendable {
    /// What requests get.
    public typealias Served = ServedAdapter<Prepared>

    /// The base.
    public let base: AdapterBase
    let options: AdapterRegistryOptions
    private let probe: AdapterProbe<Prepared>?
    private let prepare: @Sendable (any LowRankDeltas) throws -> Prepared
    private let memory: @Sendable (Prepared) -> Int
    let state: Mutex<RegistryState<Prepared>>
    // Few loads at once: each needs memory, and takes a core from the tokens.
    private let queue = OperationQueue()
    // Blends wait for loads: among these they would keep each other waiting.
    private let blends = OperationQueue()
    // The cache folder's files are written and removed one after another.
    private let packings = OperationQueue()

    /// Creates an empty registry.
    ///
    /// - Parameters:
    ///   - base: what adapters are loaded over.
    ///   - options: limits and rules.
    ///   - probe: what shows that an adapter changes something; nil takes it on trust.
    ///   - prepare: makes of an adapter or a blend what serving wants, once, before any request gets it.
    ///   - memory: bytes that this takes beside the adapter itself.
    public init(
        _ base: AdapterBase, options: AdapterRegistryOptions = AdapterRegistryOptions(),
        probe: AdapterProbe<Prepared>? = nil,
        prepare: @escaping @Sendable (any LowRankDeltas) throws -> Prepared,
        memory: @escaping @Sendable (Prepared) -> Int
    ) {
        self.base = base
        self.options = options
        self.probe = probe
        self.prepare = prepare
        self.memory = memory
        state = Mutex(RegistryState(options: options))
        let count = max(1, ProcessInfo.processInfo.activeProcessorCount / 2)
        for queue in [queue, blends] { queue.maxConcurrentOperationCount = count }
        packings.maxConcurrentOperationCount = 1
        packings.qualityOfService = .utility
    }

    /// Computes what loads have in common, so that the first is as fast as the others; reads the whole base.
    ///
    /// - Throws: what reading the checkpoint throws.
    public func warmUp() throws {
        try base.prepare()
        try probe?.prepare()
    }

    /// Loads the PEFT folder or bundle at `path` as `name`.
    ///
    /// Of several loads of one name the one that began last decides.
    ///
    /// - Parameters:
    ///   - name: what requests call it.
    ///   - path: where it is; check a client's with `AllowedRoots`.
    ///   - replace: whether it may take the place of a version that the name has.
    ///   - allowOtherBase: whether a bundle may state another base.
    /// - Returns: the adapter.
    /// - Throws: `.notFound` when nothing is at `path`, `.exists` for a name that is taken, `.invalidArgument`
    ///   for one that is none; `.malformed`, `.unsupported` or `.mismatch` for an adapter that is refused,
    ///   with what was expected and got. The version before stays.
    @discardableResult
    public func load(
        name: String, path: String, replace: Bool = true, allowOtherBase: Bool = false
    ) throws -> Adapter {
        try load(
            name: name, path: path, replace: replace, allowOtherBase: allowOtherBase,
            rememberingFailure: false)
    }

    /// The same, away from the caller's thread.
    @discardableResult
    public func load(
        name: String, path: String, replace: Bool = true, allowOtherBase: Bool = false
    ) async throws -> Adapter {
        try await withCheckedThrowingContinuation { continuation in
            queue.addOperation { [self] in
                continuation.resume(
                    with: Result {
                        try load(
                            name: name, path: path, replace: replace,
                            allowOtherBase: allowOtherBase, rememberingFailure: false)
                    })
            }
        }
    }

    /// Loads an adapter; with `rememberingFailure` a new name that cannot be loaded is listed as failed.
    func load(
        name: String, path: String, replace: Bool, allowOtherBase: Bool, rememberingFailure: Bool
    ) throws -> Adapter {
        let ticket = try begin(name, replace: replace)
        let start = ContinuousClock.now
        do {
            let adapter = try base.load(
                path, name: name, allowOtherBase: allowOtherBase, trustedKeys: options.trustedKeys,
                maximumBytes: options.maximumBundleBytes)
            let served = try serve(adapter)
            try probe?.check(served.prepared, source: path)
            let version = AdapterVersion(
                adapter, memory: served.memory, over: base, path: path,
                allowsOtherBase: allowOtherBase)
            _ = try state.withLock {
                try $0.install(version, served, as: name, ticket: ticket)
            }
            makeRoom()
            options.onLoad?(name, .now - start)
            return adapter
        } catch {
            state.withLock { $0.fail(name, error, ticket: ticket, isListed: rememberingFailure) }
            throw error
        }
    }

    private func begin(_ name: String, replace: Bool) throws -> Int {
        try AdapterName.check(name)
        guard !options.reservedNames.contains(name) else {
            throw LorikeetError(
                .exists, name, "the name is the base's", advice: "Give the adapter another name.")
        }
        return try state.withLock { try $0.begin(name, replace: replace) }
    }

    /// Forgets the adapter of that name, and loads of it that are on; requests that have it keep it.
    ///
    /// - path: forgets it only if it came from there; nil wherever it came from.
    /// - Throws: `.notFound`.
    public func unload(name: String, path: String? = nil) throws {
        try state.withLock { state in
            guard let entry = state.entries[name],
                path == nil || entry.versions.isEmpty || entry.versions[0].path == path
            else { throw state.missing(AdapterReference(name: name)) }
            state.remove(name)
        }
        cleanUp()
    }

    /// The names that have a version, sorted.
    public var names: [String] { state.withLock { $0.names } }

    /// What is known of every name, by name.
    public var statuses: [AdapterStatus] {
        state.withLock { state in state.entries.keys.sorted().compactMap { state.status($0) } }
    }

    /// What is known of `name`; nil for an unknown one.
    public func status(of name: String) -> AdapterStatus? { state.withLock { $0.status(name) } }

    /// Bytes of the adapters and blends that are kept in memory.
    public var residentMemory: Int { state.withLock { $0.memory } }

    // MARK: For lookups

    /// Makes of an adapter what requests get.
    func serve(_ adapter: Adapter) throws -> Served {
        let prepared = try prepare(adapter)
        let served = Served(
            key: adapter.digest, prepared: prepared, adapter: adapter,
            memory: adapter.memory + memory(prepared))
        if let limit = options.maximumMemory, served.memory > limit {
            throw LorikeetError(
                .unsupported, adapter.name, "the adapter is larger than the memory for adapters",
                expected: "at most \(limit) bytes", got: "\(served.memory)")
        }
        return served
    }

    /// Makes of a blend what requests get.
    func serve(_ sum: DeltaSum, key: String) throws -> Served {
        let prepared = try prepare(sum)
        return Served(
            key: key, prepared: prepared, adapter: nil, memory: sum.memory + memory(prepared))
    }

    /// Runs `body` among the loads.
    func enqueue(_ body: @escaping @Sendable () -> Void) { queue.addOperation(body) }

    /// Runs `body`, which may wait for loads.
    func enqueueBlend(_ body: @escaping @Sendable () -> Void) { blends.addOperation(body) }

    /// Runs `body` among the packings.
    func enqueuePacking(_ body: @escaping @Sendable () -> Void) { packings.addOperation(body) }

    /// Waits for the loads, blends and packings that are on.
    package func settle() {
        for queue in [blends, queue, packings] { queue.waitUntilAllOperationsAreFinished() }
    }
}
