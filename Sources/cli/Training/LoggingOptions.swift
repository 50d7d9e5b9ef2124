import ArgumentParser
import LorikeetAdapters

/// What shows a run beside its metrics.jsonl.
struct LoggingOptions: ParsableArguments {
    @Flag(help: "Write no report.html into the output.")
    var noReport = false

    @Option(
        help: "A folder, this run's own, where TensorBoard reads its scalars while it goes on.")
    var tensorboard: String?

    func apply(to options: inout FineTuning.Options) {
        options.writesReport = !noReport
        options.tensorBoard = tensorboard
    }
}
