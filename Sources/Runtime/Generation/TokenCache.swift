/// A cache that knows which tokens it holds: the next sequence runs from where it parts from the last.
///
/// What it holds belongs to one adapter, whose factors must not change meanwhile.
final class TokenCache {
    /// The keys and values.
    let cache: KVCache
    /// The tokens that they are of.
    private(set) var tokens: [Int32] = []

    /// Takes over an empty cache.
    init(_ cache: KVCache) { self.cache = cache }

    /// Forgets what `sequence` does not begin with.
    ///
    /// - limit: keep so many tokens at most, for what follows them must run again.
    /// - Returns: how many tokens are kept.
    func keep(prefixOf sequence: [Int32], atMost limit: Int) -> Int {
        let shared = zip(sequence, tokens).prefix { $0 == $1 }.count
        truncate(to: min(shared, limit))
        return tokens.count
    }

    /// Forgets what follows the first `count` tokens, and what a pass wrote without `append`.
    func truncate(to count: Int) {
        cache.truncate(to: count)
        tokens.removeSubrange(count...)
    }

    /// Notes that a pass has appended `new`.
    func append(_ new: some Sequence<Int32>) { tokens += new }
}
