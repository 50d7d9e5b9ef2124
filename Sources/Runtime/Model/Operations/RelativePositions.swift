#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Which row of the table of relative positions stands for a distance: near ones have a row each, far ones
/// share rows by the logarithm.
///
/// Source: He et al., "DeBERTaV3" (2021) and the buckets of `make_log_bucket_position` in transformers'
/// modeling_deberta_v2.py.
public struct RelativePositions: Sendable, Equatable {
    /// Rows for distances to one side; 0 for a row of its own for each distance.
    public var buckets: Int
    /// The distance from which on the last row stands.
    public var maximumDistance: Int

    /// Creates the scheme.
    public init(buckets: Int, maximumDistance: Int) {
        self.buckets = buckets
        self.maximumDistance = maximumDistance
    }

    /// Half the table: the row of distance 0.
    var span: Int { buckets > 0 ? buckets : maximumDistance }

    /// Rows of the table.
    public var count: Int { 2 * span }

    /// The row of query − key = `distance`.
    package func row(of distance: Int) -> Int { min(max(bucket(distance) + span, 0), 2 * span - 1) }

    private func bucket(_ distance: Int) -> Int {
        let middle = buckets / 2
        guard buckets > 0, abs(distance) > middle else { return distance }
        // In fp32, as there: the last distance of a bucket must not slip into the next.
        let far =
            logf(Float(abs(distance)) / Float(middle))
            / logf(Float(Double(maximumDistance - 1) / Double(middle)))
        let bucket = Int((far * Float(middle - 1)).rounded(.up)) + middle
        return distance < 0 ? -bucket : bucket
    }

    /// The rows that sequences of up to `length` tokens need.
    package func rows(forLength length: Int) -> Range<Int> {
        row(of: 1 - length)..<row(of: length - 1) + 1
    }
}
