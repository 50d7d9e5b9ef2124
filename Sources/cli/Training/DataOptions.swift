public import ArgumentParser
public import LorikeetAdapters

/// What is learned from, and in which order.
struct DataOptions: ParsableArguments {
    @Option(help: "A JSONL file.")
    var data: String

    @Option(
        help: """
            How an instruction is put: chat, through the model's template, or alpaca; default: chat where there \
            is a template.
            """)
    var prompt: PromptStyle?

    @Option(help: "Longer rows are cut to this many tokens.")
    var maxLength = 512

    @Flag(help: "Take the rows in the order of the file.")
    var noShuffle = false

    @Option(help: "Seed of the start and of the order of rows.")
    var seed: UInt64 = 0

    func validate() throws {
        guard maxLength >= 2 else {
            throw ValidationError("--max-length \(maxLength): expected 2 or more.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.prompt = prompt
        options.maximumLength = maxLength
        options.training.seed = seed
        options.training.shuffles = !noShuffle
    }
}

extension PromptStyle: ExpressibleByArgument {}
