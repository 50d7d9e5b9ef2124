import ArgumentParser
import LorikeetAdapters

/// When a run is saved, to be taken up again.
struct CheckpointOptions: ParsableArguments {
    @Option(
        help:
            "Save the run at every so many steps, so that it can be resumed should it be cut short."
    )
    var saveEvery: Int?

    @Option(help: "Checkpoints to keep.")
    var keep = 2

    @Flag(help: "Go on from the newest checkpoint, if there is one; all other flags stay the same.")
    var resume = false

    func validate() throws {
        guard saveEvery ?? 1 > 0, keep > 0 else {
            throw ValidationError("--save-every and --keep: expected 1 or more.")
        }
        guard saveEvery != nil || !resume else {
            throw ValidationError("--resume: give the run's --save-every too.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.checkpoints = saveEvery.map {
            var checkpoints = CheckpointFolder.Options(every: $0)
            checkpoints.count = keep
            checkpoints.resumes = resume
            return checkpoints
        }
    }
}
