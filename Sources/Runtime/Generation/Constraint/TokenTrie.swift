/// The bytes of tokens as a tree in the order of a walk through it, whose subtrees can be passed over.
struct TokenTrie: Sendable {
    /// One byte of some token.
    struct Node: Sendable {
        var byte: UInt8
        /// How many bytes lie before it.
        var depth: UInt16
        /// The node after its subtree.
        var end: Int32
        /// The tokens that end here: a range of `tokens`.
        var firstToken: Int32
        var tokenEnd: Int32
    }

    private(set) var nodes: [Node] = []
    /// Tokens in the order of their bytes.
    private(set) var tokens: [Int32] = []
    /// The length of the longest token.
    private(set) var depth = 0

    /// Takes tokens in the order of their bytes, none of which are empty.
    init(sorted entries: [(token: Int32, bytes: [UInt8])]) {
        var path: [Int] = []
        var previous: [UInt8] = []
        for (token, bytes) in entries {
            let shared = zip(previous, bytes).prefix { $0 == $1 }.count
            while path.count > shared { nodes[path.removeLast()].end = Int32(nodes.count) }
            for depth in shared..<bytes.count {
                path.append(nodes.count)
                let next = Int32(tokens.count)
                nodes.append(
                    Node(
                        byte: bytes[depth], depth: UInt16(depth), end: 0, firstToken: next,
                        tokenEnd: next))
            }
            tokens.append(token)
            if let last = path.last { nodes[last].tokenEnd = Int32(tokens.count) }
            depth = max(depth, bytes.count)
            previous = bytes
        }
        while let last = path.popLast() { nodes[last].end = Int32(nodes.count) }
    }
}
