/// Byte strings with a value each, arranged so that all that begin at one place are found in one walk.
///
/// The edges of all nodes share one open-addressed table, so that neither its size nor the time to build
/// it depends on what the strings are.
struct ByteTrie: Sendable {
    /// Where a walk begins.
    static let root: Int32 = 0

    /// The edge from a node by a byte, and what is at its end.
    struct Edge: Sendable {
        fileprivate var key: UInt64
        /// The node that it leads to.
        var node: Int32
        /// The value of the string that ends there; -1 where none does.
        var value: Int32
    }

    // A power of two, at most half full.
    private var edges: [Edge]
    private var shift: UInt64
    private var count = 0
    /// The number of bytes of the longest string.
    private(set) var depth = 0
    /// Odd and chosen anew in each process, so that no file can choose edges that collide.
    private let multiplier = UInt64.random(in: 0...UInt64.max) | 1
    private static let free = Edge(key: .max, node: -1, value: -1)

    init() {
        shift = 64 - 8
        edges = Array(repeating: Self.free, count: 1 << 8)
    }

    /// Adds a string that is not empty; of one that is added twice the first value holds.
    mutating func insert(_ string: some Sequence<UInt8>, value: Int32) {
        var node = Self.root
        var last = -1
        var length = 0
        for byte in string {
            length += 1
            if 2 * (count + 1) > edges.count { grow() }
            let key = Self.key(node, byte)
            last = slot(of: key)
            if edges[last].key == Self.free.key {
                count += 1
                edges[last] = Edge(key: key, node: Int32(count), value: -1)
            }
            node = edges[last].node
        }
        depth = max(depth, length)
        if last >= 0, edges[last].value < 0 { edges[last].value = value }
    }

    /// The edge from `node` by `byte`; its node is -1 if there is none.
    @inline(__always)
    func edge(from node: Int32, by byte: UInt8) -> Edge { edges[slot(of: Self.key(node, byte))] }

    /// The longest string that `text` has at `start`: its value and its end.
    func longest(
        in text: UnsafeBufferPointer<UInt8>, at start: Int
    ) -> (value: Int32, end: Int)? {
        var found: (value: Int32, end: Int)?
        var node = Self.root
        var position = start
        while position < text.count {
            let edge = edge(from: node, by: text[position])
            guard edge.node >= 0 else { break }
            node = edge.node
            position += 1
            if edge.value >= 0 { found = (edge.value, position) }
        }
        return found
    }

    @inline(__always)
    private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
        UInt64(UInt32(bitPattern: node)) << 8 | UInt64(byte)
    }

    @inline(__always)
    private func slot(of key: UInt64) -> Int {
        // Multiply-shift, as in `MergeTable`.
        var slot = Int(truncatingIfNeeded: (key &* multiplier) >> shift)
        while edges[slot].key != key, edges[slot].key != Self.free.key {
            slot = (slot &+ 1) & (edges.count &- 1)
        }
        return slot
    }

    private mutating func grow() {
        let old = edges
        shift -= 1
        edges = Array(repeating: Self.free, count: 2 * old.count)
        for edge in old where edge.node >= 0 { edges[slot(of: edge.key)] = edge }
    }
}
