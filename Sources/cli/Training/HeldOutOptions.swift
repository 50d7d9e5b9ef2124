import ArgumentParser
import LorikeetAdapters

/// When a run is measured on held-out rows, and what follows from that.
struct HeldOutOptions: ParsableArguments {
    @Option(help: "Measure the loss on the held-out rows at every so many steps, and at the end.")
    var evalEvery: Int?

    @Option(help: "End the run after so many evaluations without improvement.")
    var earlyStopping: Int?

    @Option(help: "By how much the loss on the held-out rows must fall to be an improvement.")
    var earlyStoppingDelta = 0.0

    @Flag(help: "Write the adapter of the last step, not that of the lowest validation loss.")
    var noKeepBest = false

    func validate() throws {
        guard earlyStopping == nil || evalEvery != nil else {
            throw ValidationError("--early-stopping: give --eval-every too.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.training.validation.interval = evalEvery
        options.training.validation.patience = earlyStopping
        options.training.validation.minimumImprovement = earlyStoppingDelta
        options.training.validation.keepsBest = !noKeepBest
    }
}
