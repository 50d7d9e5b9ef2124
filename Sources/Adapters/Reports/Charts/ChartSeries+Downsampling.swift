extension [ChartSeries.Point] {
    /// The curve in at most `pieces` pieces of two points each, the least and the greatest of the piece, so
    /// that no spike is lost; gaps stay where a whole piece is one.
    func thinned(to pieces: Int) -> [ChartSeries.Point] {
        guard count > 2 * pieces else { return self }
        return (0..<pieces).flatMap { piece -> [ChartSeries.Point] in
            let part = self[piece * count / pieces..<(piece + 1) * count / pieces]
            let finite = part.filter { $0.y.isFinite }
            guard let low = finite.min(by: { $0.y < $1.y }),
                let high = finite.max(by: { $0.y < $1.y })
            else { return part.first.map { [$0] } ?? [] }
            return low == high ? [low] : low.x < high.x ? [low, high] : [high, low]
        }
    }

    /// The curve in at most `count` of its points, evenly chosen, the first and the last among them: for
    /// curves that are smooth already.
    func sampled(to limit: Int) -> [ChartSeries.Point] { evenly(limit) }
}

extension [ChartSeries.Extent] {
    /// At most `limit` of the extents, evenly chosen, the first and the last among them.
    func sampled(to limit: Int) -> [ChartSeries.Extent] { evenly(limit) }
}

extension Array {
    fileprivate func evenly(_ limit: Int) -> [Element] {
        guard count > limit, limit > 1 else { return self }
        return (0..<limit).map { self[$0 * (count - 1) / (limit - 1)] }
    }
}
