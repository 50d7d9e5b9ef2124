import Foundation

extension LineChart {
    /// Pixels across.
    static let width = 720
    private static let (left, right, plotHeight, bottom) = (76.0, 28.0, 280.0, 48.0)
    private static let legendLine = 20.0
    /// What a curve is drawn with at most: a piece for every two pixels.
    private static let pieces = 320

    /// Pixels down.
    var height: Int { Int(top + Self.plotHeight + Self.bottom) }

    /// Where the plot begins: under title and legend.
    private var top: Double { 44 + Double(legend.last.map { $0.line + 1 } ?? 0) * Self.legendLine }

    /// The chart as an `svg` element.
    ///
    /// Its title and description are named after `id`, which a document has once; `top` is where it lies in an
    /// outer `svg`, nil for one that stands in a page.
    func svg(id: String, top outerTop: Int? = nil) -> String {
        let place =
            outerTop.map { "y=\"\($0)\" width=\"\(Self.width)\" height=\"\(height)\"" }
            ?? "xmlns=\"http://www.w3.org/2000/svg\""
        return """
            <svg class="chart" role="img" aria-labelledby="\(id)-t \(id)-d" \(place) \
            viewBox="0 0 \(Self.width) \(height)">
            <title id="\(id)-t">\(title.escapedForMarkup)</title>
            <desc id="\(id)-d">\(summary.escapedForMarkup)</desc>
            <text class="title" x="16" y="24">\(title.escapedForMarkup)</text>
            \(legendMarkup)\(plot(id: id))</svg>

            """
    }

    // MARK: Legend

    /// Where each curve's entry stands; none for a curve that is alone.
    private var legend: [(index: Int, line: Int, x: Double)] {
        guard series.count > 1 || series.first?.style != nil else { return [] }
        var (line, x) = (0, 16.0)
        return series.enumerated().map { index, series in
            // 7.2 pixels: the mean width of a character in 13-pixel sans serif, and a little more.
            let width = 36 + 7.2 * Double(min(series.name.count, Self.nameLength)) + 20
            if x > 16, x + width > Double(Self.width) - Self.right { (line, x) = (line + 1, 16) }
            defer { x += width }
            return (index, line, x)
        }
    }

    private static let nameLength = 60

    private var legendMarkup: String {
        legend.map { index, line, x in
            let y = 50 + Double(line) * Self.legendLine
            let name = series[index].name
            let shown =
                name.count > Self.nameLength ? name.prefix(Self.nameLength - 1) + "…" : name[...]
            return """
                <path class="\(ChartStyle.line(style(index)))" d="M\(text(x)) \(text(y - 4))h28"/>\
                <text x="\(text(x + 36))" y="\(text(y))">\(String(shown).escapedForMarkup)</text>

                """
        }.joined()
    }

    private func style(_ index: Int) -> Int { (series[index].style ?? index) % ChartStyle.count }

    // MARK: Plot

    private func plot(id: String) -> String {
        let points = series.flatMap { $0.points + $0.background }
        let extents = series.flatMap(\.band)
        let drawn = points.filter { x.holds($0.x) && y.holds($0.y) }
        let ys = drawn.map(\.y) + extents.flatMap { [$0.low, $0.high] }.filter(y.holds)
        let (left, top) = (Self.left, top)
        let (width, height) = (Double(Self.width) - Self.left - Self.right, Self.plotHeight)
        let middle = text(left + width / 2)
        guard !drawn.isEmpty else {
            return """
                <text class="muted" text-anchor="middle" x="\(middle)" y="\(text(top + height / 2))">no values</text>

                """
        }
        let across = ScaledAxis(x, values: drawn.map(\.x), padding: isSparse ? 0.03 : 0)
        let up = ScaledAxis(y, values: ys, padding: 0.05)
        let frame = Frame(left: left, top: top, width: width, height: height, across, up)
        var markup = """
            <clipPath id="\(id)-c"><rect x="\(text(left))" y="\(text(top))" width="\(text(width))" \
            height="\(text(height))"/></clipPath>

            """
        for tick in up.ticks(6) {
            let y = frame.y(tick.value)
            markup += """
                <path class="grid" d="M\(text(left)) \(text(y))h\(text(width))"/><text class="muted" \
                text-anchor="end" x="\(text(left - 8))" y="\(text(y + 4))">\(tick.label)</text>

                """
        }
        for tick in across.ticks(8) {
            let x = frame.x(tick.value)
            markup += """
                <path class="axis" d="M\(text(x)) \(text(top + height))v5"/><text class="muted" \
                text-anchor="middle" x="\(text(x))" y="\(text(top + height + 20))">\(tick.label)</text>

                """
        }
        markup += """
            <path class="axis" d="M\(text(left)) \(text(top + height))h\(text(width))"/>
            <text class="muted" text-anchor="middle" x="\(middle)" y="\(text(top + height + 40))">\
            \(x.label.escapedForMarkup)</text>
            <text class="muted" text-anchor="middle" transform="rotate(-90)" x="\(text(-(top + height / 2)))" \
            y="18">\(y.label.escapedForMarkup)</text>
            <g clip-path="url(#\(id)-c)">

            """
        // Bands lie under all curves, or the last would hide the first.
        for (index, series) in series.enumerated() { markup += band(series.band, index, frame) }
        for (index, series) in series.enumerated() {
            markup += curve(
                series.background.thinned(to: Self.pieces), "raw " + ChartStyle.line(style(index)),
                frame)
        }
        for (index, series) in series.enumerated() {
            let points = series.points.thinned(to: Self.pieces)
            markup += curve(points, ChartStyle.line(style(index)), frame)
            markup += dots(points, index, frame)
        }
        return markup + "</g>\n"
    }

    /// Whether the curves are of few points, as over learning rates: each is marked then.
    private var isSparse: Bool { series.allSatisfy { $0.points.count <= 12 } }

    /// From values to pixels.
    private struct Frame {
        let (left, top, width, height): (Double, Double, Double, Double)
        let (across, up): (ScaledAxis, ScaledAxis)

        init(
            left: Double, top: Double, width: Double, height: Double, _ across: ScaledAxis,
            _ up: ScaledAxis
        ) {
            (self.left, self.top, self.width, self.height) = (left, top, width, height)
            (self.across, self.up) = (across, up)
        }

        func x(_ value: Double) -> Double { left + width * cut(across.position(value)) }

        func y(_ value: Double) -> Double { top + height * (1 - cut(up.position(value))) }

        /// At most an extent beyond the plot, which hides it: numbers that viewers can add.
        private func cut(_ position: Double) -> Double { min(max(position, -1), 2) }
    }

    /// The points between gaps.
    private func segments(_ points: [ChartSeries.Point]) -> [[ChartSeries.Point]] {
        points.filter { x.holds($0.x) }.split { !y.holds($0.y) }.map(Array.init)
    }

    private func curve(_ points: [ChartSeries.Point], _ style: String, _ frame: Frame) -> String {
        let path = segments(points).filter { $0.count > 1 }.map { part in
            "M"
                + part.map { "\(text(frame.x($0.x))) \(text(frame.y($0.y)))" }.joined(
                    separator: " ")
        }.joined()
        return path.isEmpty ? "" : "<path class=\"\(style)\" d=\"\(path)\"/>\n"
    }

    /// Points that no line shows, and all points of a sparse chart.
    private func dots(_ points: [ChartSeries.Point], _ index: Int, _ frame: Frame) -> String {
        segments(points).filter { isSparse || $0.count == 1 }.joined().map { point in
            """
            <circle class="\(ChartStyle.area(style(index)))" cx="\(text(frame.x(point.x)))" \
            cy="\(text(frame.y(point.y)))" r="3.5"/>

            """
        }.joined()
    }

    private func band(_ band: [ChartSeries.Extent], _ index: Int, _ frame: Frame) -> String {
        let parts = band.sampled(to: Self.pieces).split {
            !(x.holds($0.x) && y.holds($0.low) && y.holds($0.high))
        }
        let path = parts.filter { $0.count > 1 }.map { part in
            let edge =
                part.map { "\(text(frame.x($0.x))) \(text(frame.y($0.high)))" }
                + part.reversed().map { "\(text(frame.x($0.x))) \(text(frame.y($0.low)))" }
            return "M" + edge.joined(separator: " ") + "Z"
        }.joined()
        guard !path.isEmpty else { return "" }
        return "<path class=\"band \(ChartStyle.area(style(index)))\" d=\"\(path)\"/>\n"
    }

    /// Tenths of a pixel are enough.
    private func text(_ pixels: Double) -> String {
        let tenths = Int((pixels * 10).rounded())
        let (whole, rest) = tenths.magnitude.quotientAndRemainder(dividingBy: 10)
        return (tenths < 0 ? "-" : "") + (rest == 0 ? "\(whole)" : "\(whole).\(rest)")
    }
}
