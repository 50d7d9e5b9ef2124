/// A loaded adapter, or a blend of some, as requests use it: a version that never changes.
///
/// Who holds it keeps it: what a registry is told meanwhile does not matter, and its memory goes when the last
/// request lets go of it.
public final class ServedAdapter<Prepared: Sendable>: Sendable {
    /// What its terms are known by: the adapter's digest, or of a blend one of digests and scales; the same
    /// key means the same numbers, so caches of keys and values go by it.
    public let key: String
    /// What the registry's `prepare` made for serving.
    public let prepared: Prepared
    /// The adapter as it was loaded; nil for a blend.
    public let adapter: Adapter?
    /// Bytes it takes.
    public let memory: Int

    init(key: String, prepared: Prepared, adapter: Adapter?, memory: Int) {
        self.key = key
        self.prepared = prepared
        self.adapter = adapter
        self.memory = memory
    }
}
