/// The merges: which pairs of tokens become which token, and in what order of preference.
struct MergeTable: Sendable {
    /// What a pair of neighbours becomes.
    struct Merge: Sendable {
        /// The merge's place in the file: the lowest goes first.
        var rank: Int32
        var id: Int32
    }

    private struct Slot: Sendable {
        var pair: UInt64
        var merge: Merge
    }

    // Open addressing; a power of two, at most half full. No pair is `free`, since ids are positive.
    private var slots: [Slot]
    private let shift: UInt64
    /// Odd and chosen anew in each process, so that no file can choose pairs that collide.
    private let multiplier = UInt64.random(in: 0...UInt64.max) | 1
    private static let free = UInt64.max

    init(capacity: Int) {
        var bits: UInt64 = 4
        while 1 << bits < capacity * 2 { bits += 1 }
        shift = 64 - bits
        slots = Array(
            repeating: Slot(pair: Self.free, merge: Merge(rank: .max, id: -1)),
            count: 1 << Int(bits))
    }

    /// Adds a merge; of a pair that is named twice the later one holds, as in the reference.
    mutating func insert(_ left: Int32, _ right: Int32, _ merge: Merge) {
        let pair = Self.pair(left, right)
        slots[slot(of: pair)] = Slot(pair: pair, merge: merge)
    }

    /// What `left` and `right` become; rank `.max` if they stay apart.
    @inline(__always)
    func merge(_ left: Int32, _ right: Int32) -> Merge {
        slots[slot(of: Self.pair(left, right))].merge
    }

    @inline(__always)
    private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always)
    private func slot(of pair: UInt64) -> Int {
        // Multiply-shift (Dietzfelbinger et al. 1997): universal over the choice of the multiplier.
        var slot = Int(truncatingIfNeeded: (pair &* multiplier) >> shift)
        while slots[slot].pair != pair, slots[slot].pair != Self.free {
            slot = (slot &+ 1) & (slots.count &- 1)
        }
        return slot
    }
}
