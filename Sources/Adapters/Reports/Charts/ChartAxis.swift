#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How one dimension of a chart is laid out.
public struct ChartAxis: Sendable {
    /// How values become places.
    public enum Scale: Sendable, Equatable {
        /// Equal distances for equal differences.
        case linear
        /// Equal distances for equal ratios; values that are not positive have no place.
        case logarithmic
    }

    /// What is measured, with its unit.
    public var label: String
    /// How values become places.
    public var scale: Scale
    /// Where the axis ends, whatever the values; nil for where they do.
    public var maximum: Double?

    /// An axis.
    public init(_ label: String, scale: Scale = .linear, maximum: Double? = nil) {
        self.label = label
        self.scale = scale
        self.maximum = maximum
    }

    /// Whether `value` has a place on the axis, be it beyond its end; what is larger than 1e300 has none, for
    /// differences of such numbers are not finite.
    func holds(_ value: Double) -> Bool {
        value.magnitude <= 1e300 && (scale == .linear || value > 0)
    }
}

/// An axis with its domain: where values lie on it, from 0 to 1, and its ticks.
struct ScaledAxis {
    /// A mark with its label.
    struct Tick: Equatable {
        var value: Double
        var label: String
    }

    private let isLogarithmic: Bool
    /// The values at 0 and at 1, as they are or as their logarithms.
    private let (low, high): (Double, Double)

    /// An axis over `values`, which all have a place; `padding` is left free at both ends, as a part of
    /// the extent.
    init(_ axis: ChartAxis, values: [Double], padding: Double) {
        isLogarithmic = axis.scale == .logarithmic
        let place: (Double) -> Double = isLogarithmic ? { log10($0) } : { $0 }
        var low = values.min().map(place) ?? 0
        var high = values.max().map(place) ?? 1
        if let maximum = axis.maximum, axis.holds(maximum), place(maximum) > low {
            high = min(high, place(maximum))
        }
        if !(high - low > max(abs(low), abs(high)) * 1e-9) {
            let room = isLogarithmic ? 0.15 : max(abs(high) * 0.05, 1e-9)
            (low, high) = (low - room, high + room)
        }
        let free = (high - low) * padding
        (self.low, self.high) = (low - free, high + free)
    }

    /// Where `value` lies: 0 at the axis' beginning, 1 at its end.
    func position(_ value: Double) -> Double {
        ((isLogarithmic ? log10(value) : value) - low) / (high - low)
    }

    /// At most about `count` ticks at round numbers.
    func ticks(_ count: Int) -> [Tick] {
        let ticks =
            isLogarithmic
            ? AxisTicks.logarithmic(low, high, count: count)
            : AxisTicks.linear(low, high, count: count)
        return ticks.filter { (0...1).contains(position($0.value)) }
    }
}
