import Foundation

/// Curves over a common abscissa, drawn as SVG.
///
/// ```swift
/// var chart = LineChart("Loss", x: ChartAxis("step"), y: ChartAxis("loss"))
/// chart.series = [ChartSeries("lora", losses)]
/// let file = ChartSheet([chart]).svg
/// ```
///
/// A curve has a colour and a dash of its own, and a description in words for those who cannot see it;
/// colours follow the reader's light or dark mode.
public struct LineChart: Sendable {
    /// What the chart shows.
    public var title: String
    /// The abscissa.
    public var x: ChartAxis
    /// The ordinate.
    public var y: ChartAxis
    /// The curves, in the legend's order.
    public var series: [ChartSeries]

    /// A chart without curves as yet.
    public init(_ title: String, x: ChartAxis, y: ChartAxis, series: [ChartSeries] = []) {
        self.title = title
        self.x = x
        self.y = y
        self.series = series
    }

    /// The chart in words: the axes and where each curve begins and ends.
    var summary: String {
        let curves = series.map { series -> String in
            let points = series.points.filter { x.holds($0.x) && y.holds($0.y) }
            guard let first = points.first, let last = points.last else {
                return "\(series.name) has no values"
            }
            return "\(series.name) goes from \(number(first.y)) at \(number(first.x)) "
                + "to \(number(last.y)) at \(number(last.x))"
        }
        return "\(y.label) over \(x.label). " + curves.map { $0 + "." }.joined(separator: " ")
    }

    private func number(_ value: Double) -> String { String(format: "%.4g", value) }
}

/// Charts under one another in one SVG file.
public struct ChartSheet: Sendable {
    /// The charts, from the top.
    public var charts: [LineChart]

    /// A sheet of `charts`.
    public init(_ charts: [LineChart]) { self.charts = charts }

    /// The file, which carries its style with it.
    public var svg: String {
        let width = LineChart.width
        var body = ""
        var height = 0
        for (index, chart) in charts.enumerated() {
            body += chart.svg(id: "chart\(index + 1)", top: height)
            height += chart.height
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" class="chart" width="\(width)" height="\(height)" \
            viewBox="0 0 \(width) \(height)">
            <style>\(ChartStyle.css)</style>
            <rect class="paper" width="\(width)" height="\(height)"/>
            \(body)</svg>

            """
    }
}
