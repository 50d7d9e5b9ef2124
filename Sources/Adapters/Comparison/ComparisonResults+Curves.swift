extension ComparisonResults {
    /// The values of `key` of metrics.jsonl, of each method at its best rate: the mean of its seeds, and from the
    /// least to the greatest as a band; each run is smoothed first if `isSmoothed`.
    ///
    /// Where `abscissa` is not steps, it is the seeds' mean.
    func curves(
        _ key: String, over abscissa: RunMetrics.Abscissa = .steps, isSmoothed: Bool = true
    ) -> [ChartSeries] {
        methods.enumerated().compactMap { index, method in
            let runs = (method.best?.runs ?? []).map { run in
                let points = run.metrics.points(key, over: abscissa)
                return isSmoothed ? smoothing(points) : points
            }
            return Self.series(name(method), runs, style: index)
        }
    }

    /// How far the loss of each other method lies above the baseline's of the same seed, whose rows were the same:
    /// what the rows of a step do to both is not in it.
    var differences: [ChartSeries] {
        methods.enumerated().compactMap { index, method in
            guard method.name != baseline else { return nil }
            let runs = (method.best?.runs ?? []).compactMap { run -> [ChartSeries.Point]? in
                baselineRuns.first { $0.plan.seed == run.plan.seed }.map { other in
                    zip(loss.points(of: run.metrics), loss.points(of: other.metrics))
                        .map { ChartSeries.Point($0.x, $0.y - $1.y) }
                }
            }
            return Self.series(name(method), runs, style: index)
        }
    }

    /// The final loss over the learning rate, of each method that was trained at several.
    var sweeps: [ChartSeries] {
        methods.enumerated().compactMap { index, method in
            guard method.rates.count > 1 else { return nil }
            let rates = method.rates.sorted { $0.learningRate < $1.learningRate }
            return ChartSeries(
                method.name.rawValue,
                rates.map { ChartSeries.Point($0.learningRate, $0.finalLoss?.mean ?? .nan) },
                band: rates.compactMap { rate in
                    rate.finalLoss.map {
                        ChartSeries.Extent(rate.learningRate, $0.low, $0.high)
                    }
                }, style: index)
        }
    }

    /// The method with its rate, which may be another for each.
    private func name(_ method: Method) -> String {
        method.best.map { "\(method.name.rawValue), \($0.learningRate)" } ?? method.name.rawValue
    }

    /// Mean and extent of `runs`, point by point, as far as all of them go.
    private static func series(
        _ name: String, _ runs: [[ChartSeries.Point]], style: Int
    ) -> ChartSeries? {
        guard let count = runs.map(\.count).min(), count > 0 else { return nil }
        var series = ChartSeries(name, [], style: style)
        for index in 0..<count {
            let points = runs.map { $0[index] }
            let x = points.reduce(0) { $0 + $1.x } / Double(points.count)
            guard let spread = Spread(points.map(\.y).filter(\.isFinite)) else {
                series.points.append(ChartSeries.Point(x, .nan))
                continue
            }
            series.points.append(ChartSeries.Point(x, spread.mean))
            if runs.count > 1 {
                series.band.append(ChartSeries.Extent(x, spread.low, spread.high))
            }
        }
        return series
    }
}
