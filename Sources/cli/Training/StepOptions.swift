import ArgumentParser
import LorikeetAdapters

/// The steps of a run: how many, of what size.
struct StepOptions: ParsableArguments {
    @Option(help: "Passes over the data; default: 1.")
    var epochs: Int?

    @Option(help: "Optimizer steps, instead of --epochs.")
    var steps: Int?

    @Option(help: "Rows in one pass through the model.")
    var batchSize = 4

    @Option(help: "Passes in one optimizer step.")
    var accumulate = 1

    @Option(help: "Gradients are scaled down to this norm; 0 for no clipping.")
    var maxGradientNorm = 0.0

    @Option(help: "AdamW's decoupled weight decay.")
    var weightDecay = 0.0

    @Flag(help: "Keep less in memory: run each block forward once more when its gradient is due.")
    var gradientCheckpointing = false

    func validate() throws {
        guard epochs == nil || steps == nil else {
            throw ValidationError("Give --epochs or --steps, not both.")
        }
        guard maxGradientNorm >= 0, weightDecay >= 0 else {
            throw ValidationError("--max-gradient-norm and --weight-decay: expected 0 or more.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.recomputesBlocks = gradientCheckpointing
        options.training.length = steps.map { .steps($0) } ?? .epochs(epochs ?? 1)
        options.training.batchSize = batchSize
        options.training.accumulate = accumulate
        options.training.maximumGradientNorm = maxGradientNorm > 0 ? maxGradientNorm : nil
        options.training.optimizer.weightDecay = weightDecay
    }
}
