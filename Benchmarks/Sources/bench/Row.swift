import Foundation

/// A line of the table: what was done in a second, and what the machine could do at best.
struct Row {
    var name: String
    var instructionSet: String
    var threads: Int
    /// In `unit` a second.
    var figure: Double
    var unit: String
    /// In the same unit; 0 where it was not probed.
    var ceiling: Double

    var line: String {
        let share = ceiling > 0 ? String(format: "%.0f %%", 100 * figure / ceiling) : ""
        let best = ceiling > 0 ? String(format: "%.1f", ceiling) : ""
        return
            "| \(name) | \(instructionSet) | \(threads) | \(String(format: "%.1f", figure)) \(unit) "
            + "| \(best) | \(share) |"
    }

    var json: [String: Any] {
        [
            "name": name, "isa": instructionSet, "threads": threads, "figure": figure, "unit": unit,
            "ceiling": ceiling,
        ]
    }
}

/// Seconds that `body` takes: the best of several runs, for others can only slow it down.
func seconds(runs: Int = 7, _ body: () -> Void) -> Double {
    let clock = ContinuousClock()
    body()
    return (0..<runs).map { _ in clock.measure(body).seconds }.min() ?? .infinity
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
