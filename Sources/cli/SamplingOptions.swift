import ArgumentParser
import LorikeetRuntime

/// How the next token is chosen.
struct SamplingOptions: ParsableArguments {
    @Option(help: "The longest answer, in tokens.")
    var maxTokens = 256

    @Option(help: "0 always takes the likeliest token.")
    var temperature: Float = 0

    @Option(help: "Choose among the k likeliest; 0 for all.")
    var topK = 0

    @Option(help: "Choose among the likeliest that make up this much probability.")
    var topP: Float = 1

    @Option(help: "Leave out tokens less likely than this share of the likeliest.")
    var minP: Float = 0

    @Option(help: "Above 1, tokens that occurred are less likely.")
    var repetitionPenalty: Float = 1

    @Option(help: "Taken from the logit of every token generated before.")
    var presencePenalty: Float = 0

    @Option(help: "Taken from the logit of a token for each time it was generated.")
    var frequencyPenalty: Float = 0

    @Option(help: "Seed of the choice; the same seed gives the same text.")
    var seed: UInt64 = 0

    @Option(help: "Stop before this text; may be repeated.")
    var stop: [String] = []

    @Option(help: "Log probabilities of this many likeliest tokens at each step (with --json).")
    var logprobs: Int?

    func validate() throws {
        try require(maxTokens >= 1, "--max-tokens \(maxTokens): expected 1 or more.")
        try require(
            temperature >= 0 && temperature.isFinite,
            "--temperature \(temperature): expected 0 or more.")
        try require(topK >= 0, "--top-k \(topK): expected 0 or more.")
        try require(topP > 0 && topP <= 1, "--top-p \(topP): expected more than 0, at most 1.")
        try require(minP >= 0 && minP <= 1, "--min-p \(minP): expected 0 to 1.")
        try require(
            repetitionPenalty > 0,
            "--repetition-penalty \(repetitionPenalty): expected more than 0.")
        try require(presencePenalty.isFinite, "--presence-penalty: expected a number.")
        try require(frequencyPenalty.isFinite, "--frequency-penalty: expected a number.")
        try require(!stop.contains(""), "--stop: expected a text that is not empty.")
        if let logprobs {
            try require((0...20).contains(logprobs), "--logprobs \(logprobs): expected 0 to 20.")
        }
    }

    private func require(_ condition: Bool, _ message: String) throws {
        if !condition { throw ValidationError(message) }
    }
}
