public import ArgumentParser
import Foundation
public import LorikeetAdapters
import LorikeetRuntime

/// `lorikeet plot RUN…`.
struct Plot: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Draw the curves of runs from their metrics.jsonl.",
        discussion: """
            A run is a folder that train or compare wrote, or a metrics.jsonl. Noisy curves are drawn smoothed, \
            with what they are of behind them. A PNG file is drawn by rsvg-convert, of Debian's librsvg2-bin.
            """)

    @Argument(help: "The folders of runs.")
    var runs: [String]

    @Option(name: [.short, .long], help: "The file to write: .svg or .png.")
    var output = "plot.svg"

    @Option(help: "steps, seconds or tokens.")
    var x = RunMetrics.Abscissa.steps

    @Option(help: "Keys of metrics.jsonl, separated by commas: a chart each.")
    var y = "loss"

    @Option(help: "Values to smooth over; 1 for none; default: a twentieth of each run.")
    var smooth: Int?

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard !runs.isEmpty else { throw ValidationError("Name at least one run.") }
        guard output.hasSuffix(".svg") || output.hasSuffix(".png") else {
            throw ValidationError("--output \(output): expected a name that ends in .svg or .png.")
        }
        guard smooth ?? 1 > 0 else {
            throw ValidationError("--smooth \(smooth ?? 0): expected 1 or more.")
        }
        guard !keys.isEmpty else { throw ValidationError("--y: expected at least one key.") }
    }

    private var keys: [String] {
        y.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
    }

    func run() throws {
        try AtomicOutput.requireAbsent(output, unless: outputOptions.force)
        let metrics = try zip(names, runs).map { (name: $0, metrics: try RunMetrics(path: $1)) }
        let charts = try keys.map { key in
            guard
                let chart = RunCharts.chart(
                    key, of: metrics, over: x, smoothing: smooth.map { Smoothing(over: $0) })
            else {
                let known = Set(metrics.flatMap(\.metrics.keys)).sorted()
                throw LorikeetError(
                    .invalidArgument, "--y", "no run has the key \(key)",
                    expected: "one of \(known.joined(separator: ", "))")
            }
            return chart
        }
        let svg = ChartSheet(charts).svg
        if output.hasSuffix(".png") {
            try Rasterizer.writePNG(svg, to: output)
        } else {
            try AtomicOutput.write(Data(svg.utf8), to: output)
        }
        if common.json {
            Terminal.print(["output": .string(output), "charts": .int(charts.count)])
        } else {
            Terminal.print("\(output): \(charts.count == 1 ? "a chart" : "\(charts.count) charts")")
        }
    }

    /// The folders' names, or the paths where two folders have the same one.
    private var names: [String] {
        let names = runs.map { ($0 as NSString).lastPathComponent }
        return Set(names).count == names.count ? names : runs
    }
}

extension RunMetrics.Abscissa: ExpressibleByArgument {}
