/// SplitMix64: a generator whose whole state is one number, so that a run can be repeated and resumed.
///
/// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; the constants are
/// those of Java's `SplittableRandom`.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    /// All there is to save and restore.
    public private(set) var state: UInt64

    /// Begins the sequence of `seed`; a saved `state` continues where it was.
    public init(seed: UInt64) { state = seed }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in 0 ..< bound, each equally likely.
    ///
    /// Written out, as are the orders below: what the standard library draws may change with it, and
    /// with it what a seed means.
    public mutating func integer(below bound: Int) -> Int {
        precondition(bound > 0, "a bound of \(bound)")
        let bound = UInt64(bound)
        // Lemire, "Fast random integer generation in an interval", 2019: the high half of x · bound,
        // without the few x that would make some values likelier
        let excess = (0 &- bound) % bound
        while true {
            let product = next().multipliedFullWidth(by: bound)
            if product.low >= excess { return Int(product.high) }
        }
    }

    /// The numbers 0 ..< count in random order (Fisher and Yates).
    public mutating func order(of count: Int) -> [Int] {
        var order = Array(0..<count)
        for last in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(last, integer(below: last + 1))
        }
        return order
    }
}
