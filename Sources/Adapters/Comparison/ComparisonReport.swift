import Foundation

/// A comparison as a page.
public struct ComparisonReport: Sendable {
    /// What the page shows.
    public let results: ComparisonResults

    /// A page of `results`.
    public init(results: ComparisonResults) { self.results = results }

    /// The page, which needs nothing but itself.
    public var html: String {
        let names = results.methods.map(\.name.rawValue)
        let seeds = results.methods[0].rates[0].runs.count
        var page = HTMLPage(
            names.count == 1
                ? names[0] : "\(names.dropLast().joined(separator: ", ")) and \(names.last ?? "")",
            subtitle:
                "Each method at its best learning rate, \(seeds) \(seeds == 1 ? "seed" : "seeds"); "
                + "compared by \(loss). Means, from the least to the greatest."
        )
        page.addTable(header, results.methods.map(row))
        page.addCharts(charts)
        page.addHeading("All learning rates")
        page.addText(
            "The last loss at each learning rate: mean, from the least to the greatest.")
        page.addTable(sweepHeader, results.methods.map(sweepRow))
        let failures = results.methods.flatMap(\.rates).flatMap(\.runs).compactMap { run in
            run.record.failure.map { "\(run.plan.path): \($0)" }
        }
        if !failures.isEmpty {
            page.addHeading("Runs that failed")
            page.addList(failures)
        }
        page.addHeading("How to read it")
        page.addList(notes)
        page.addHeading("What all runs have in common")
        page.addTable([], results.configuration.values.map { [$0.flag, $0.value] }, isText: true)
        return page.html
    }

    /// The loss that runs are compared by.
    private var loss: String {
        switch results.loss {
        case .training(let smoothing): "the training loss, smoothed over \(smoothing.count) steps"
        case .validation: "the loss on held-out rows"
        }
    }

    private var notes: [String] {
        let baseline = results.baseline.rawValue
        return [
            "Runs of one seed begin at the same factors and take the same rows in the same order.",
            "Loss: \(loss).",
            "A method's best learning rate has the lowest mean last loss; all were trained at the same rates.",
            "Steps to \(baseline)'s loss: the first step at which a run's loss, where it is known, is at most that which "
                + "\(baseline)'s run of the same seed ended with. Fewer steps: than \(baseline)'s own, found in the "
                + "same way.",
            "Bands reach from the least to the greatest of the seeds.",
            "Step time is the median of a run's steps; peak memory the largest resident set while the run was "
                + "trained, the mapped base and what the process held before it included.",
        ]
    }

    // MARK: Tables

    private var header: [String] {
        [
            "method", "learning rate", "last loss", "steps to \(results.baseline.rawValue)'s loss",
            "fewer steps", "step, ms", "peak memory, MB",
        ] + results.scoreNames
    }

    private func row(_ method: ComparisonResults.Method) -> [String] {
        let scores = results.scoreNames.map { name in
            method.best?.spread { $0.record.scores[name]?.value }
        }
        let steps = results.stepsToBaseline(method)
        let reached = Spread(steps.compactMap { $0.map(Double.init) })
        let missed = steps.count { $0 == nil }
        return [
            method.name.rawValue, method.best.map { "\($0.learningRate)" } ?? "every one failed",
            text(method.best?.finalLoss, "%.4f"),
            text(reached, "%.0f") + (missed > 0 && !steps.isEmpty ? ", \(missed) never" : ""),
            results.stepsSaved(method).map { String(format: "%.0f %%", 100 * $0) } ?? "–",
            text(method.best?.spread { $0.stepSeconds.map { 1000 * $0 } }, "%.0f"),
            text(
                method.best?.spread { $0.record.peakMemoryBytes.map { Double($0) / 1e6 } }, "%.0f"),
        ] + scores.map { text($0, "%.4f") }
    }

    private var rates: [Double] {
        Set(results.methods.flatMap { $0.rates.map(\.learningRate) }).sorted()
    }

    private var sweepHeader: [String] { ["method"] + rates.map { "\($0)" } }

    private func sweepRow(_ method: ComparisonResults.Method) -> [String] {
        [method.name.rawValue]
            + rates.map { rate in
                guard let found = method.rates.first(where: { $0.learningRate == rate }) else {
                    return "–"
                }
                return found.finalLoss == nil ? "failed" : text(found.finalLoss, "%.4f")
            }
    }

    /// `0.5123 (0.5101–0.5140)`.
    private func text(_ spread: Spread?, _ format: String) -> String {
        guard let spread else { return "–" }
        let mean = String(format: format, spread.mean)
        guard spread.count > 1 else { return mean }
        return mean + " (" + String(format: format, spread.low) + "–"
            + String(format: format, spread.high) + ")"
    }

    // MARK: Charts

    private var charts: [LineChart] {
        let loss = results.curves("loss")
        // A run that leaves its beginning behind upwards must not flatten all others.
        let highest = loss.compactMap(\.points.first?.y).filter(\.isFinite).max().map { $0 * 1.1 }
        var overTime = results.curves("loss", over: .seconds)
        let time = RunCharts.axis(.seconds, of: &overTime)
        let steps = ChartAxis("step")
        let all = [
            LineChart(
                "Training loss over steps", x: steps, y: ChartAxis("loss", maximum: highest),
                series: loss),
            LineChart(
                "Training loss over time", x: time, y: ChartAxis("loss", maximum: highest),
                series: overTime),
            LineChart(
                "Loss above \(results.baseline.rawValue)'s on the same rows", x: steps,
                y: ChartAxis("difference of losses"), series: results.differences),
            LineChart(
                "Last loss at each learning rate",
                x: ChartAxis("learning rate", scale: .logarithmic),
                y: ChartAxis("loss", maximum: highest), series: results.sweeps),
            LineChart(
                "Validation loss", x: steps, y: ChartAxis("loss"),
                series: results.curves("validation_loss", isSmoothed: false)),
            LineChart(
                "Gradient norm", x: steps,
                y: ChartAxis("norm of the raw gradient", scale: .logarithmic),
                series: results.curves("gradient_norm")),
            LineChart(
                "Condition of S", x: steps,
                y: ChartAxis("largest ‖S‖ ‖S⁻¹‖", scale: .logarithmic),
                series: results.curves("condition_number")),
        ]
        return all.filter { !$0.series.isEmpty }
    }
}
