import Foundation

/// A line on standard error that shows how far a long command is, with its rate and the time left.
///
/// On a terminal the line redraws itself ten times a second at most; elsewhere (a log) a line is
/// written every ten seconds and at the end.
struct ProgressBar {
    private let title: String
    private let total: Int
    /// What was done before this began, which says nothing of the rate.
    private let earlier: Int
    private let start = ContinuousClock.now
    private var drawn: ContinuousClock.Instant?

    init(_ title: String, total: Int, after earlier: Int = 0) {
        self.title = title
        self.total = total
        self.earlier = earlier
    }

    /// Seconds since the start.
    var elapsed: Double {
        let duration = start.duration(to: .now).components
        return Double(duration.seconds) + Double(duration.attoseconds) * 1e-18
    }

    /// Shows that `done` of the total are finished; `detail` says how it goes.
    mutating func update(_ done: Int, _ detail: String) {
        let now = ContinuousClock.now
        let interval: Duration = Terminal.isInteractive ? .milliseconds(100) : .seconds(10)
        if let drawn, done < total, drawn.duration(to: now) < interval { return }
        if drawn == nil, !Terminal.isInteractive, done < total {
            drawn = start
            return
        }
        drawn = now
        let new = done - earlier
        let left = new == 0 ? .infinity : elapsed / Double(new) * Double(total - done)
        let filled = total == 0 ? 20 : 20 * done / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: 20 - filled)
        let line =
            "\(title) \(bar) \(done)/\(total)  \(detail)  \(Format.duration(elapsed)) < \(Format.duration(left))"
        Terminal.noteText(Terminal.isInteractive ? "\r\u{1B}[K\(line)" : line + "\n")
    }

    /// Writes a line of its own above the bar.
    func note(_ line: String) {
        Terminal.noteText(Terminal.isInteractive ? "\r\u{1B}[K\(line)\n" : line + "\n")
    }

    /// Leaves the line as it is and goes to the next one.
    func finish() {
        if Terminal.isInteractive, drawn != nil { Terminal.noteText("\n") }
    }
}
