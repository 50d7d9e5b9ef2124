/// How much an engine takes on at a time.
public struct EngineOptions: Sendable {
    /// Requests that run in one batch.
    public var runningLimit = 64
    /// Requests that wait; past it they are refused.
    public var waitingLimit = 256
    /// Tokens of prompts in a step, beside a token of each answer: how long a long prompt holds up the others.
    public var prefillTokens = 256
    /// The longest sequence, prompt and answer; nil for the model's positions.
    public var contextLength: Int?
    /// Bytes of keys and values of all sequences, and of prefixes that are kept.
    public var cacheBytes = 1 << 30

    /// 64 requests at a time, 256 that wait, 1 GiB of keys and values.
    public init() {}
}
