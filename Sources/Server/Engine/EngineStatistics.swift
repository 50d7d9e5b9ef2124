/// What an engine does now, and what it did since it started.
public struct EngineStatistics: Sendable {
    /// Requests in the batch.
    public var running = 0
    /// Requests that wait.
    public var waiting = 0
    /// The same by adapter key; "" for the base.
    public var runningByAdapter: [String: Int] = [:]
    /// Requests that wait, by adapter key.
    public var waitingByAdapter: [String: Int] = [:]
    /// The share of the memory for keys and values that sequences and kept prefixes hold.
    public var cacheUsage = 0.0
    /// Prompt tokens asked of the prefix cache, and those that it had.
    public var prefixQueries = 0
    /// Prompt tokens whose keys and values were cached.
    public var prefixHits = 0
    /// Prompt tokens of all requests that started.
    public var promptTokens = 0
    /// Tokens chosen.
    public var generatedTokens = 0
    /// Steps of the engine: one pass over the model each.
    public var steps = 0
    /// Requests set back because the memory for keys and values was used up.
    public var preemptions = 0
}
