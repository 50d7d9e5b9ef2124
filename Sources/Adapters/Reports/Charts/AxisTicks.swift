import Foundation

/// Where an axis is marked: at 1, 2 or 5 times a power of ten, or at powers of ten.
enum AxisTicks {
    /// Ticks from `low` to `high`, at most `count` or one more.
    static func linear(_ low: Double, _ high: Double, count: Int) -> [ScaledAxis.Tick] {
        let step = step(high / Double(count) - low / Double(count))
        guard step > 0, step.isFinite else { return [] }
        // Multiples of the step by their index: adding it up would add up its rounding too.
        let (first, last) = ((low / step).rounded(.up), (high / step).rounded(.down))
        guard first <= last, last - first <= Double(4 * count) else { return [] }
        let values = stride(from: first, through: last, by: 1).map { $0 * step }
        let largest = max(abs(low), abs(high))
        return values.map { .init(value: $0, label: label($0, step: step, largest: largest)) }
    }

    /// The least of 1, 2, 5, 10 times a power of ten that is at least `minimum`.
    static func step(_ minimum: Double) -> Double {
        let power = pow(10, log10(minimum).rounded(.down))
        // A hair of tolerance: 0.3 / 3 is more than 0.1.
        return [1, 2, 5].map { $0 * power }.first { $0 >= minimum * (1 - 1e-9) } ?? 10 * power
    }

    /// Ticks of a logarithmic axis from 10^`low` to 10^`high`: powers of ten, 2 and 5 times them where there is
    /// room, and where the axis is shorter than that, those of a linear one.
    static func logarithmic(_ low: Double, _ high: Double, count: Int) -> [ScaledAxis.Tick] {
        let (first, last) = (Int(low.rounded(.up)), Int(high.rounded(.down)))
        let powers = max(0, last - first + 1)
        if powers > count {
            let every = (powers + count - 1) / count
            return (first...last).filter { $0 % every == 0 }.map { tick(1, $0) }
        }
        if powers * 3 > count { return (first...last).map { tick(1, $0) } }
        let between = (first - 1...last + 1).flatMap { power in
            [1, 2, 5].map { tick($0, power) }
        }.filter { (low...high).contains(log10($0.value)) }
        return between.count >= 3 ? between : linear(pow(10, low), pow(10, high), count: count)
    }

    private static func tick(_ digit: Double, _ power: Int) -> ScaledAxis.Tick {
        let value = digit * pow(10, Double(power))
        return .init(value: value, label: label(value, step: value, largest: value))
    }

    /// `value` with the digits that a step of `step` asks for: 0.25, 12,000, 1.5M, 2e-5.
    private static func label(_ value: Double, step: Double, largest: Double) -> String {
        if value == 0 { return "0" }
        if largest >= 1e12 || largest < 1e-3 {
            // Rounded to the step's digit, then without the zeros that C writes: 2e-05.
            let digits = max(0, Int(log10(abs(value)).rounded(.down)) - exponent(step))
            return exponential(value, digits: min(digits, 3))
        }
        for (unit, size) in [("G", 1e9), ("M", 1e6)] where largest >= size {
            return fixed(value / size, digits: max(0, -exponent(step / size))) + unit
        }
        return fixed(value, digits: max(0, -exponent(step)))
    }

    private static func exponent(_ step: Double) -> Int {
        Int((log10(step) + 1e-9).rounded(.down))
    }

    private static func exponential(_ value: Double, digits: Int) -> String {
        let parts = String(format: "%.\(digits)e", value).split(separator: "e")
        return "\(parts[0])e\(Int(parts[1].drop { $0 == "+" }) ?? 0)"
    }

    /// A number with `digits` decimals and its thousands apart.
    private static func fixed(_ value: Double, digits: Int) -> String {
        let text = String(format: "%.\(min(digits, 9))f", abs(value))
        let whole = text.prefix { $0 != "." }
        var grouped = ""
        for (index, digit) in whole.enumerated() {
            if index > 0, (whole.count - index).isMultiple(of: 3) { grouped.append(",") }
            grouped.append(digit)
        }
        return (value < 0 ? "−" : "") + grouped + text.dropFirst(whole.count)
    }
}
