public import ArgumentParser
public import LorikeetAdapters

/// What a run minimizes.
struct ObjectiveOptions: ParsableArguments {
    @Option(help: "sft, the rows' own tokens; or dpo, preferences between two answers.")
    var objective = ObjectiveName.likelihood

    @Option(help: "DPO: how strongly the adapter is held to the base; less is freer.")
    var beta = 0.1

    func validate() throws {
        guard beta > 0, beta.isFinite else {
            throw ValidationError("--beta: expected more than 0.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.training.objective = objective
        options.training.beta = beta
    }
}

extension ObjectiveName: ExpressibleByArgument {}
