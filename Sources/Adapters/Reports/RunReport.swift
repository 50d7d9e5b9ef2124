import Foundation
import LorikeetRuntime

/// The page that a run leaves: its curves, and all that it was made of.
struct RunReport {
    /// The output's name.
    let name: String
    /// What the run made.
    let result: FineTuning.Report
    /// What it follows from.
    let configuration: RunIdentity
    /// The largest resident set of the process, in bytes.
    let peakMemoryBytes: Int
    /// The run's metrics.
    let metrics: RunMetrics

    /// The quantities that have a chart where the run has them.
    private static let quantities = [
        "loss", "validation_loss", "learning_rate", "gradient_norm", "tokens_per_second",
        "condition_number",
    ]

    /// The page.
    var html: String {
        let summary = result.run
        var page = HTMLPage(name, subtitle: result.adapter)
        page.addFigures([
            ("Loss, first step", String(format: "%.4f", summary.firstLoss)),
            ("Loss, last step", String(format: "%.4f", summary.lastLoss)),
            ("Steps", "\(summary.steps)\(summary.isStopped ? ", stopped" : "")"),
            ("Tokens", "\(summary.tokens)"),
            ("Tokens per second", String(format: "%.0f", Double(summary.tokens) / summary.seconds)),
            ("Duration", Self.duration(summary.seconds)),
            ("Peak memory", String(format: "%.0f MB", Double(peakMemoryBytes) / 1e6)),
        ])
        page.addCharts(
            Self.quantities.compactMap { RunCharts.chart($0, of: [("run", metrics)]) })
        page.addHeading("Data")
        page.addList(result.data.lines)
        page.addHeading("Configuration")
        page.addTable([], configuration.values.map { [$0.flag, $0.value] }, isText: true)
        return page.html
    }

    /// `2 h 5 min`, `3 min 20 s`, `12.5 s`.
    static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e9 else { return "unknown" }
        let whole = Int(seconds.rounded())
        if whole >= 3600 { return "\(whole / 3600) h \(whole / 60 % 60) min" }
        return whole >= 60
            ? "\(whole / 60) min \(whole % 60) s" : String(format: "%.1f s", seconds)
    }
}

extension FineTuning.Report {
    /// Writes report.html into `folder`, which holds the run's metrics.
    func writePage(into folder: String, name: String, configuration: RunIdentity) throws {
        let page = RunReport(
            name: name, result: self, configuration: configuration,
            peakMemoryBytes: LorikeetRuntime.peakMemoryBytes(),
            metrics: try RunMetrics(path: folder))
        try AtomicOutput.write(Array(page.html.utf8), to: "\(folder)/report.html")
    }
}
