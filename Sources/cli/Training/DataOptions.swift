public import ArgumentParser
public import LorikeetAdapters

/// What is learned from, and in which order.
struct DataOptions: ParsableArguments {
    @Option(help: "A JSONL file.")
    var data: String?

    @Option(
        help: """
            How an instruction is put: chat, through the model's template, or alpaca; default: chat where there \
            is a template.
            """)
    var prompt: PromptStyle?

    @Option(help: "Longer rows are cut to this many tokens.")
    var maxLength = 512

    @Option(help: "A JSONL file to validate with.")
    var validation: String?

    @Option(help: "Set this fraction of the rows aside, drawn by the seed, and validate with them.")
    var validationSplit: Double?

    @Flag(
        help: """
            Fill each pass with as many whole rows as fit into --batch-size × --max-length tokens, instead of \
            --batch-size rows; rows do not see each other.
            """)
    var packing = false

    @Flag(help: "Put rows of similar length into a step.")
    var groupByLength = false

    @Flag(help: "Take the rows in the order of the file.")
    var noShuffle = false

    @Option(help: "Seed of the start, of the order of rows and of --validation-split.")
    var seed: UInt64 = 0

    func validate() throws {
        guard maxLength >= 2 else {
            throw ValidationError("--max-length \(maxLength): expected 2 or more.")
        }
        guard validation == nil || validationSplit == nil else {
            throw ValidationError("Give --validation or --validation-split, not both.")
        }
        guard validationSplit.map({ $0 > 0 && $0 < 1 }) ?? true else {
            throw ValidationError("--validation-split: expected a fraction between 0 and 1.")
        }
        guard !packing || !groupByLength else {
            throw ValidationError("Give --packing or --group-by-length, not both.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.prompt = prompt
        options.maximumLength = maxLength
        options.validation = validation.map { .file($0) } ?? validationSplit.map { .split($0) }
        options.training.batching =
            packing ? .packed : groupByLength ? .byLength : .inOrder
        options.training.seed = seed
        options.training.shuffles = !noShuffle
    }
}

extension PromptStyle: ExpressibleByArgument {}
