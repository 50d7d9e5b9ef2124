import Foundation
import LorikeetQuant

/// A line of the table: what was measured, and what the machine could do at best.
struct Row {
    var name: String
    var instructionSet: String
    var threads: Int
    /// In `unit`.
    var figure: Double
    var unit: String
    /// In the same unit; nil where there is none.
    var ceiling: Double?

    /// A row of what ran on `compute`; a ceiling of 0 was not to be had on this processor.
    init(
        _ name: String, on compute: Compute, _ figure: Double, _ unit: String,
        ceiling: Double? = nil
    ) {
        self.name = name
        instructionSet = String(cString: compute.kernels.isa)
        threads = compute.pool.count
        self.figure = figure
        self.unit = unit
        self.ceiling = ceiling.flatMap { $0 > 0 ? $0 : nil }
    }

    /// The part of the ceiling that was reached.
    var share: Double? { ceiling.map { figure / $0 } }

    static let heading = """
        | | ISA | threads | figure | ceiling | share |
        |---|---|---|---|---|---|
        """

    var line: String {
        let best = ceiling.map(Self.number) ?? ""
        let percent = share.map { String(format: "%.0f %%", 100 * $0) } ?? ""
        return
            "| \(name) | \(instructionSet) | \(threads) | \(Self.number(figure)) \(unit) | \(best) | \(percent) |"
    }

    private static func number(_ value: Double) -> String {
        String(format: value < 100 ? "%.1f" : "%.0f", value)
    }

    var json: [String: Any] {
        var object: [String: Any] = [
            "name": name, "isa": instructionSet, "threads": threads, "figure": figure, "unit": unit,
        ]
        object["ceiling"] = ceiling
        object["share"] = share
        return object
    }
}

/// Seconds that `body` takes, `other` in turn with it: the best of several runs, for other programs can
/// only slow it down.
func seconds(
    runs: Int = 7, beside other: () -> Void = {}, _ body: () throws -> Void
) rethrows -> Double {
    let clock = ContinuousClock()
    try body()
    var best = Double.infinity
    for _ in 0..<runs {
        best = min(best, try clock.measure(body) / .seconds(1))
        other()
    }
    return best
}
