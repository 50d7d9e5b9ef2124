public import LorikeetAdapters
public import LorikeetRuntime

/// The adapters that requests may name; what the API asks of them, from any thread.
public protocol ServedAdapters<Terms>: Sendable {
    /// What runs a request takes of its adapter.
    associatedtype Terms: Sendable

    /// The adapters, by name.
    var list: [ServedAdapterInfo] { get }

    /// How many adapters had to leave memory for others.
    var evictions: Int { get }

    /// The adapter that `name` means now, or the version that `name@digest` pins; a digest may be cut short.
    ///
    /// - Throws: `.notFound`.
    func adapter(named name: String) async throws -> SelectedAdapter<Terms>

    /// Several adapters at once, each times its scale.
    ///
    /// - Throws: `.notFound`; `.unsupported` for what cannot be added up.
    func blend(_ parts: [BlendPart]) async throws -> SelectedAdapter<Terms>

    /// Loads the adapter at `path` as `name`; requests in flight keep the version that they have.
    ///
    /// - Parameters:
    ///   - name: what requests call it.
    ///   - path: a PEFT folder or a bundle, within a folder that was allowed.
    ///   - replacing: whether it takes the place of one of that name.
    /// - Returns: what was loaded.
    /// - Throws: `.exists`, `.notFound`; `.invalidArgument` for a name or a path that is not allowed; what
    ///   is wrong with the adapter. What was there is as it was.
    func load(name: String, path: String, replacing: Bool) async throws -> ServedAdapterInfo

    /// Forgets an adapter.
    ///
    /// - Throws: `.notFound`.
    func unload(name: String) async throws
}

/// What people are told of an adapter.
public struct ServedAdapterInfo: Sendable {
    /// What requests call it.
    public var name: String
    /// SHA-256 of its content.
    public var digest: String
    /// When it was loaded, in seconds since 1970.
    public var created: Int
    /// Further members of its entry in the list of models: rank, method, modules.
    public var details: JSON.Object

    /// Describes an adapter.
    public init(name: String, digest: String, created: Int, details: JSON.Object) {
        self.name = name
        self.digest = digest
        self.created = created
        self.details = details
    }
}

/// An adapter, or a blend, as a request uses it.
public struct SelectedAdapter<Terms: Sendable>: Sendable {
    /// What its requests are counted under.
    public var name: String
    /// What runs the request takes.
    public var terms: Terms

    /// An adapter called `name`.
    public init(name: String, terms: Terms) {
        self.name = name
        self.terms = terms
    }
}
