#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Random numbers that depend on the seed alone: xoshiro256++, its state filled by SplitMix64.
///
/// Everything random (initial factors, shuffles, sampling) draws from one of these, so that a seed
/// gives the same run on every machine. Source: Blackman and Vigna, "Scrambled Linear Pseudorandom
/// Number Generators" (2021); prng.di.unimi.it.
public struct SeededGenerator: RandomNumberGenerator, Sendable, Equatable {
    /// The 256 bits that a checkpoint must keep to go on where it stopped.
    public private(set) var state: (UInt64, UInt64, UInt64, UInt64)

    /// A generator whose whole sequence follows from `seed`.
    public init(seed: UInt64) {
        var mixer = SplitMix64(state: seed)
        state = (mixer.next(), mixer.next(), mixer.next(), mixer.next())
    }

    /// A generator that goes on from a `state` that was kept.
    public init(state: (UInt64, UInt64, UInt64, UInt64)) {
        precondition(state != (0, 0, 0, 0), "the all-zero state never leaves itself")
        self.state = state
    }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
        let result = rotate(state.0 &+ state.3, 23) &+ state.0
        let t = state.1 << 17
        state.2 ^= state.0
        state.3 ^= state.1
        state.1 ^= state.2
        state.0 ^= state.3
        state.2 ^= t
        state.3 = rotate(state.3, 45)
        return result
    }

    /// A number in [0, 1): the upper 53 bits.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A normal number of mean 0 and variance 1, by Box and Muller's transform.
    public mutating func normal() -> Double {
        // 1 − u is in (0, 1], where the logarithm is finite.
        let radius = (-2 * log(1 - uniform())).squareRoot()
        return radius * cos(2 * .pi * uniform())
    }

    /// An integer in 0 ..< bound, without bias.
    public mutating func integer(below bound: Int) -> Int {
        precondition(bound > 0, "an integer below \(bound)")
        // Lemire's: the product's upper half, drawn again in the few cases that would be favoured.
        let bound = UInt64(bound)
        var product = next().multipliedFullWidth(by: bound)
        let threshold = (0 &- bound) % bound
        while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
        return Int(product.high)
    }

    /// Puts `elements` into random order (Fisher and Yates).
    public mutating func shuffle<Element>(_ elements: inout [Element]) {
        // Not the standard library's shuffle: how that draws its indices is no promise of its.
        for index in stride(from: elements.count - 1, to: 0, by: -1) {
            elements.swapAt(index, integer(below: index + 1))
        }
    }

    /// Whether both give the same sequence.
    public static func == (left: SeededGenerator, right: SeededGenerator) -> Bool {
        left.state == right.state
    }
}

/// A generator of 64 bits of state: what fills a larger one's, or turns a number into a key.
///
/// Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014); prng.di.unimi.it.
struct SplitMix64 {
    /// Any number.
    var state: UInt64

    /// The next 64 random bits.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
