public import ArgumentParser
public import LorikeetAdapters

/// How the learning rate moves over a run.
struct ScheduleOptions: ParsableArguments {
    @Option(help: "Peak learning rate; default: the method's.")
    var learningRate: Double?

    @Option(
        help:
            "constant, linear, cosine, cosine-with-restarts, polynomial, inverse-sqrt or wsd (warm-up, stable, decay)."
    )
    var schedule = LearningRateSchedule.constant

    @Option(help: "Steps over which the learning rate rises from zero.")
    var warmup = 0

    @Option(help: "The same as a part of the run, 0 to 1, instead of --warmup.")
    var warmupRatio: Double?

    @Option(help: "What a falling schedule ends at, as a part of the peak.")
    var minRate = LearningRateSchedule.Shape().floor

    @Option(help: "The power of polynomial.")
    var decayPower = LearningRateSchedule.Shape().power

    @Option(help: "How many times cosine-with-restarts falls.")
    var cycles = LearningRateSchedule.Shape().cycles

    @Option(help: "The part of the run over which wsd falls, at its end.")
    var decayRatio = LearningRateSchedule.Shape().decayRatio

    func validate() throws {
        guard warmup == 0 || warmupRatio == nil else {
            throw ValidationError("Give --warmup or --warmup-ratio, not both.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.training.learningRate = learningRate
        options.training.schedule = schedule
        options.training.warmup = warmup
        options.training.warmupRatio = warmupRatio
        options.training.scheduleShape.floor = minRate
        options.training.scheduleShape.power = decayPower
        options.training.scheduleShape.cycles = cycles
        options.training.scheduleShape.decayRatio = decayRatio
    }
}

extension LearningRateSchedule: ExpressibleByArgument {}
