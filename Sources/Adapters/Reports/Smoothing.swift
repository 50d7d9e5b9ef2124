/// The mean of a curve's recent values: each weighs 1 - 2 / (N + 1) of the one after it.
///
/// Values that are not finite are passed over and stay as they are. The first values are not drawn towards zero: the
/// weights are divided by their sum (Kingma and Ba's correction of Adam's moments).
public struct Smoothing: Sendable, Equatable {
    /// N: as many values have the weights' mean age of a plain mean over N.
    public let count: Int

    /// Smoothing over `count` values; 1 leaves them as they are.
    public init(over count: Int) {
        precondition(count > 0, "a mean of \(count) values")
        self.count = count
    }

    /// Smoothing over a twentieth of a run of `steps` steps.
    public init(ofRun steps: Int) { self.init(over: max(1, steps / 20)) }

    /// `values`, smoothed.
    public func callAsFunction(_ values: [Double]) -> [Double] {
        let kept = 1 - 2 / (Double(count) + 1)
        var (sum, weight) = (0.0, 0.0)
        return values.map { value in
            guard value.isFinite else { return value }
            sum = kept * sum + value
            weight = kept * weight + 1
            return sum / weight
        }
    }

    /// `points` with their values smoothed.
    public func callAsFunction(_ points: [ChartSeries.Point]) -> [ChartSeries.Point] {
        zip(points, self(points.map(\.y))).map { ChartSeries.Point($0.x, $1) }
    }
}
