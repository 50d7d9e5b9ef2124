/// One curve of a chart, with the band around it where it stands for several runs.
public struct ChartSeries: Sendable {
    /// A value over an abscissa; a `y` that is not finite is a gap in the curve.
    public struct Point: Sendable, Equatable {
        /// The abscissa.
        public var x: Double
        /// The value.
        public var y: Double

        /// A point.
        public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
    }

    /// The extent of several runs at an abscissa.
    public struct Extent: Sendable, Equatable {
        /// The abscissa.
        public var x: Double
        /// The least value.
        public var low: Double
        /// The greatest value.
        public var high: Double

        /// An extent from `low` to `high` at `x`.
        public init(_ x: Double, _ low: Double, _ high: Double) {
            (self.x, self.low, self.high) = (x, low, high)
        }
    }

    /// What the legend calls it.
    public var name: String
    /// The curve, by ascending `x`.
    public var points: [Point]
    /// What is shaded around it, by ascending `x`; may be empty.
    public var band: [Extent]
    /// The curve before smoothing, drawn faintly in the same colour; may be empty.
    public var background: [Point]
    /// Which of the palette's colours and dashes it has; nil for its place in the chart.
    public var style: Int?

    /// A curve.
    public init(
        _ name: String, _ points: [Point], band: [Extent] = [], background: [Point] = [],
        style: Int? = nil
    ) {
        self.name = name
        self.points = points
        self.band = band
        self.background = background
        self.style = style
    }
}
