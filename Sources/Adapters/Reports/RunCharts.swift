/// The curves of runs, a chart a quantity.
public enum RunCharts {
    /// What each quantity of metrics.jsonl is called, whether its axis is logarithmic, and whether it is smoothed.
    private static let quantities: [String: (title: String, axis: ChartAxis, isSmoothed: Bool)] = [
        "loss": ("Training loss", ChartAxis("loss"), true),
        "validation_loss": ("Validation loss", ChartAxis("loss"), false),
        "learning_rate": ("Learning rate", ChartAxis("learning rate"), false),
        "gradient_norm": (
            "Gradient norm", ChartAxis("norm of the raw gradient", scale: .logarithmic), true
        ),
        "tokens_per_second": ("Speed", ChartAxis("tokens per second"), true),
        "condition_number": (
            "Condition of S", ChartAxis("largest ‖S‖ ‖S⁻¹‖", scale: .logarithmic), true
        ),
    ]

    /// A chart of `key` over all of `runs`.
    ///
    /// - Parameters:
    ///   - key: a key of metrics.jsonl.
    ///   - runs: the runs that may have it, by name; one that lacks it keeps its colour for other charts.
    ///   - abscissa: what progress is counted in.
    ///   - smoothing: over how many values a noisy quantity is smoothed; nil for a twentieth of each run.
    /// - Returns: nil where no run has `key`.
    public static func chart(
        _ key: String, of runs: [(name: String, metrics: RunMetrics)],
        over abscissa: RunMetrics.Abscissa = .steps, smoothing: Smoothing? = nil
    ) -> LineChart? {
        let quantity = quantities[key] ?? (key, ChartAxis(key), true)
        var curves = runs.enumerated().compactMap { index, run -> ChartSeries? in
            let points = run.metrics.points(key, over: abscissa)
            guard !points.isEmpty else { return nil }
            let style = runs.count > 1 ? index : nil
            let smoothing = smoothing ?? Smoothing(ofRun: points.count)
            guard quantity.isSmoothed, smoothing.count > 1 else {
                return ChartSeries(run.name, points, style: style)
            }
            return ChartSeries(run.name, smoothing(points), background: points, style: style)
        }
        guard !curves.isEmpty else { return nil }
        let axis = axis(abscissa, of: &curves)
        return LineChart(quantity.title, x: axis, y: quantity.axis, series: curves)
    }

    /// The axis of progress; seconds become minutes or hours where there are many.
    static func axis(_ abscissa: RunMetrics.Abscissa, of curves: inout [ChartSeries]) -> ChartAxis {
        switch abscissa {
        case .steps: return ChartAxis("step")
        case .tokens: return ChartAxis("tokens")
        case .seconds:
            let last = curves.flatMap(\.points).map(\.x).filter(\.isFinite).max() ?? 0
            let unit: (name: String, seconds: Double) =
                last > 7200 ? ("hours", 3600) : last > 120 ? ("minutes", 60) : ("seconds", 1)
            for index in curves.indices { curves[index].divideAbscissas(by: unit.seconds) }
            return ChartAxis(unit.name)
        }
    }
}

extension ChartSeries {
    fileprivate mutating func divideAbscissas(by divisor: Double) {
        points = points.map { Point($0.x / divisor, $0.y) }
        background = background.map { Point($0.x / divisor, $0.y) }
        band = band.map { Extent($0.x / divisor, $0.low, $0.high) }
    }
}
