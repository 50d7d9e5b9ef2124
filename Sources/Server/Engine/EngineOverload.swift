/// An engine takes no more requests for now.
public struct EngineOverload: Error, Sendable, Equatable {
    /// Why.
    public enum Reason: Sendable, Equatable {
        /// As many wait as may.
        case full
        /// The model is being loaded.
        case loading
        /// The engine finishes what it has, and ends.
        case stopping
    }

    /// Why.
    public var reason: Reason
    /// Seconds after which a further attempt has a chance.
    public var retryAfter: Int
}
