import ArgumentParser
import LorikeetAdapters

/// What shows a run beside its metrics.jsonl.
struct LoggingOptions: ParsableArguments {
    @Flag(help: "Write no report.html into the output.")
    var noReport = false

    @Option(
        name: .customLong("tensorboard"),
        help: "A folder, this run's own, where TensorBoard reads its scalars while it goes on.")
    var tensorBoard: String?

    func apply(to options: inout FineTuning.Options) {
        options.writesReport = !noReport
        options.tensorBoard = tensorBoard
    }
}
