/// What several runs came to: their mean, and how far they lie apart.
public struct Spread: Sendable, Equatable {
    /// The mean.
    public let mean: Double
    /// The least.
    public let low: Double
    /// The greatest.
    public let high: Double
    /// The standard deviation of the sample; nil for one value.
    public let deviation: Double?
    /// How many values.
    public let count: Int

    /// The spread of `values`; nil where there are none.
    public init?(_ values: [Double]) {
        guard let low = values.min(), let high = values.max() else { return nil }
        count = values.count
        mean = values.reduce(0, +) / Double(count)
        self.low = low
        self.high = high
        let mean = mean
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        deviation = count > 1 ? (squares / Double(count - 1)).squareRoot() : nil
    }
}
