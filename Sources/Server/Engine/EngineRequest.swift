public import LorikeetAdapters
public import LorikeetRuntime

/// What an engine is asked to generate.
public struct EngineRequest: Sendable {
    /// The prompt's tokens; at least one.
    public var prompt: [Int32]
    /// The longest answer; nil goes on until the model ends it or its positions are used up.
    public var maximumTokens: Int?
    /// How tokens are chosen.
    public var sampling = SamplingParameters()
    /// Whether the prompt's tokens are reported as chosen ones are.
    public var reportsPrompt = false
    /// Texts that end the answer and are not part of it.
    public var stopStrings: [String] = []
    /// What the answer must be; nil for anything.
    public var constraint: ConstraintAutomaton?
    /// Whether the answer goes on past an end token, unless it must be something.
    public var ignoresEndTokens = false
    /// What answers beside the base; nil for the base alone.
    public var adapter: EngineAdapter?

    /// Greedy generation after `prompt`.
    public init(prompt: [Int32]) { self.prompt = prompt }
}

/// An adapter as an engine uses it: the version that a request began with, whatever is loaded meanwhile.
public struct EngineAdapter: Sendable {
    /// What its keys and values belong to: equal for equal contents and scales, and for these alone.
    public var key: String
    /// The low-rank terms.
    public var deltas: PackedDeltas
    // Held until the request is over.
    private let owner: (any Sendable)?

    /// An adapter whose content `key` identifies.
    ///
    /// - owner: what must live until the request is over.
    public init(key: String, deltas: PackedDeltas, owner: (any Sendable)? = nil) {
        self.key = key
        self.deltas = deltas
        self.owner = owner
    }
}

extension EngineAdapter: AdapterTerms {
    /// The factors that a registry packed.
    public init(_ served: ServedAdapter<PackedDeltas>) {
        self.init(key: served.key, deltas: served.prepared, owner: served)
    }
}
