import LorikeetRuntime

/// Pages of keys and values that sequences left behind, found again by the tokens that they are of.
///
/// A tree for each adapter: a node is a page, and the path to it is all the tokens before and in it. What a key
/// finds was therefore computed from exactly these tokens, by exactly this adapter. Pages that a running sequence
/// reads are its own as well; letting a node go frees its page when no sequence is left.
///
/// The engine's thread alone uses it.
struct PrefixCache {
    private final class Node {
        var page: KVPage?
        private(set) weak var parent: Node?
        // By the page's tokens.
        var children: [[Int32]: Node] = [:]
        let tokens: [Int32]
        let adapter: String
        var lastUse = 0

        init(page: KVPage?, parent: Node?, tokens: [Int32], adapter: String) {
            self.page = page
            self.parent = parent
            self.tokens = tokens
            self.adapter = adapter
        }
    }

    // By adapter key.
    private var roots: [String: Node] = [:]
    private var clock = 0

    /// Pages that are kept.
    private(set) var pageCount = 0

    /// The pages of the longest beginning of `tokens` that is kept, at most `limit` tokens of it.
    mutating func pages(of tokens: [Int32], adapter: String, atMost limit: Int) -> [KVPage] {
        var pages: [KVPage] = []
        var node = roots[adapter]
        clock += 1
        while let parent = node {
            let begin = pages.count * KVPool.positions
            guard begin + KVPool.positions <= min(limit, tokens.count),
                let child = parent.children[Array(tokens[begin..<begin + KVPool.positions])],
                let page = child.page
            else { break }
            child.lastUse = clock
            pages.append(page)
            node = child
        }
        return pages
    }

    /// Keeps the pages of a sequence that are full.
    ///
    /// - tokens: the sequence's, at least those of its full pages.
    /// - pages: of the first tokens; where a page of the same tokens is kept already, that one stays.
    mutating func keep(_ pages: some Collection<KVPage>, of tokens: [Int32], adapter: String) {
        var node = roots[adapter] ?? Node(page: nil, parent: nil, tokens: [], adapter: adapter)
        roots[adapter] = node
        clock += 1
        for (index, page) in pages.enumerated() {
            let begin = index * KVPool.positions
            let key = Array(tokens[begin..<begin + KVPool.positions])
            if let child = node.children[key] {
                node = child
            } else {
                let child = Node(page: page, parent: node, tokens: key, adapter: adapter)
                node.children[key] = child
                node = child
                pageCount += 1
            }
            node.lastUse = clock
        }
    }

    /// Frees the page that was not used for longest, among those that no running sequence reads and that no
    /// other page follows.
    ///
    /// - Returns: false where there is none.
    mutating func evict() -> Bool {
        var oldest: Node?
        var open = Array(roots.values)
        while let node = open.popLast() {
            open += node.children.values
            guard node.children.isEmpty, isKnownUniquelyReferenced(&node.page) else { continue }
            if node.lastUse < oldest?.lastUse ?? .max { oldest = node }
        }
        guard let oldest, let parent = oldest.parent else { return false }
        parent.children[oldest.tokens] = nil
        if parent.parent == nil, parent.children.isEmpty { roots[parent.adapter] = nil }
        pageCount -= 1
        return true
    }
}
