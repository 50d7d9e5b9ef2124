import LorikeetRuntime

/// Which row stands at each position of a run: the rows once an epoch, in order or shuffled.
///
/// Position p belongs to epoch p / n; an epoch's shuffle follows from the seed and the epoch's number
/// alone, so a run can be taken up at any position.
public struct RowOrder: Sendable {
    private let count: Int
    private let seed: UInt64?
    private var epoch: Int?
    private var permutation: [Int] = []

    /// An order of `count` rows; without a seed they come as given.
    public init(count: Int, shuffledBy seed: UInt64?) {
        precondition(count > 0, "no rows")
        self.count = count
        self.seed = seed
    }

    /// The row at `position`.
    public mutating func row(at position: Int) -> Int {
        guard let seed else { return position % count }
        let (epoch, index) = position.quotientAndRemainder(dividingBy: count)
        if epoch != self.epoch {
            // The seed's own sequence names each epoch's: neighbouring seeds share no shuffle.
            var seeds = SeededGenerator(seed: seed)
            var epochSeed = seeds.next()
            for _ in 0..<epoch { epochSeed = seeds.next() }
            var generator = SeededGenerator(seed: epochSeed)
            permutation = Array(0..<count)
            generator.shuffle(&permutation)
            self.epoch = epoch
        }
        return permutation[index]
    }
}
