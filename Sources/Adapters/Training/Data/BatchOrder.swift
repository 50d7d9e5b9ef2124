import LorikeetRuntime

/// Which rows each step takes, and which of them go through the model together.
///
/// Follows from the rows' lengths, the options and the step's number alone: a run can be taken up at any
/// step.
public struct BatchOrder: Sendable {
    /// Steps of the whole run.
    public let totalSteps: Int
    /// Steps of an epoch; a fraction where its last step is not full.
    public let stepsPerEpoch: Double
    /// The most tokens that go through the model together; in a run of more rows than can be looked
    /// through beforehand, as many as the longest rows together would have.
    public private(set) var maximumTokens: Int

    /// The packs that the rows make, where they are packed; otherwise rows are ordered one by one.
    public let packs: RowPacks?
    private var order: RowOrder
    private let unitsPerPass: Int
    private let unitsPerStep: Int
    private let lastUnit: Int

    // Rows that are looked through for the largest pass: a few seconds.
    private static let mostUnits = 4_000_000

    /// The order of a run over `rows`.
    ///
    /// - Parameters:
    ///   - rows: the rows; at least one.
    ///   - options: how many of them a step takes, and in which order.
    ///   - maximumLength: with packing, a pass takes `batchSize` times as many tokens; the longest row's
    ///     when nil.
    public init(_ rows: any TrainingRows, options: TrainingOptions, maximumLength: Int? = nil) {
        let seed = options.shuffles ? options.seed : nil
        let longest = rows.longestRow
        let count: Int
        if options.batching == .packed {
            var order = RowOrder(count: rows.count, shuffledBy: seed)
            let packs = RowPacks(
                rows, in: (0..<rows.count).map { order.row(at: $0) },
                capacity: options.batchSize * max(maximumLength ?? 0, longest))
            count = packs.count
            unitsPerPass = 1
            maximumTokens = packs.maximumTokens
            self.packs = packs
        } else {
            count = rows.count
            unitsPerPass = options.batchSize
            maximumTokens = options.batchSize * longest
            packs = nil
        }
        unitsPerStep = unitsPerPass * options.accumulate
        order = RowOrder(
            count: count, shuffledBy: seed,
            groups: options.batching == .byLength
                ? LengthGroups(rows: rows, batchSize: unitsPerStep) : nil)
        switch options.length {
        case .steps(let steps):
            totalSteps = steps
            lastUnit = steps * unitsPerStep
        case .epochs(let epochs):
            lastUnit = count * epochs
            totalSteps = (lastUnit + unitsPerStep - 1) / unitsPerStep
        }
        stepsPerEpoch = Double(count) / Double(unitsPerStep)
        if packs == nil, lastUnit <= Self.mostUnits {
            var order = self
            maximumTokens = (0..<totalSteps).reduce(0) { largest, step in
                order.passes(of: step).reduce(largest) { largest, pass in
                    max(largest, pass.reduce(0) { $0 + rows.tokenCount(at: $1) })
                }
            }
        }
    }

    /// The rows of a step, pass by pass.
    public mutating func passes(of step: Int) -> [[Int]] {
        precondition(0..<totalSteps ~= step, "step \(step) of \(totalSteps)")
        let end = min((step + 1) * unitsPerStep, lastUnit)
        return stride(from: step * unitsPerStep, to: end, by: unitsPerPass).map { start in
            (start..<min(start + unitsPerPass, end)).flatMap { position in
                let unit = order.row(at: position)
                return packs.map { Array($0[unit]) } ?? [unit]
            }
        }
    }
}
