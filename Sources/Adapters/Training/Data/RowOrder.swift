import LorikeetRuntime

/// Which row stands at each position of a run: the rows once an epoch, in order or shuffled.
///
/// Position p belongs to epoch p / n; an epoch's shuffle follows from the seed and the epoch's number
/// alone, so a run can be taken up at any position.
public struct RowOrder: Sendable {
    private let count: Int
    private let seed: UInt64?
    private let groups: LengthGroups?
    private var epoch: Int?
    private var permutation: [Int] = []

    /// An order of `count` rows; without a seed they come as given.
    public init(count: Int, shuffledBy seed: UInt64?) {
        self.init(count: count, shuffledBy: seed, groups: nil)
    }

    /// An order where rows of similar length stand together.
    init(count: Int, shuffledBy seed: UInt64?, groups: LengthGroups?) {
        precondition(count > 0, "no rows")
        self.count = count
        self.seed = seed
        self.groups = groups
    }

    /// The row at `position`.
    public mutating func row(at position: Int) -> Int {
        guard seed != nil || groups != nil else { return position % count }
        let (epoch, index) = position.quotientAndRemainder(dividingBy: count)
        if epoch != self.epoch {
            permutation = permutation(of: epoch)
            self.epoch = epoch
        }
        return permutation[index]
    }

    private func permutation(of epoch: Int) -> [Int] {
        var rows = Array(0..<count)
        var generator: SeededGenerator?
        if let seed {
            // The seed's own sequence names each epoch's: neighbouring seeds share no shuffle.
            var seeds = SeededGenerator(seed: seed)
            var epochSeed = seeds.next()
            for _ in 0..<epoch { epochSeed = seeds.next() }
            generator = SeededGenerator(seed: epochSeed)
            generator?.shuffle(&rows)
        }
        groups?.arrange(&rows, from: epoch * count, &generator)
        return rows
    }
}
