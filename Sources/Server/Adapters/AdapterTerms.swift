public import LorikeetAdapters

/// What runs a request takes of its adapter: an engine's `EngineAdapter`, a batcher's `EncoderAdapter`.
public protocol AdapterTerms: Sendable {
    /// What a registry makes of an adapter before any request gets it.
    associatedtype Prepared: Sendable

    /// The terms of `served`, which they keep in memory.
    init(_ served: ServedAdapter<Prepared>)
}
