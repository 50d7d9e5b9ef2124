import ArgumentParser
import LorikeetAdapters
import LorikeetRuntime

/// What keeps a run from learning its rows by heart.
struct RegularizationOptions: ParsableArguments {
    @Option(
        help:
            "Share of each target's probability spread over the vocabulary; DPO: of pairs labelled wrongly."
    )
    var labelSmoothing = 0.0

    @Option(
        help: "NEFTune: noise of up to ±α / √(tokens · width) on a row's embeddings; customary: 5.")
    var neftuneAlpha = 0.0

    @Option(help: "Share of its inputs that the low-rank term of a layer does not see.")
    var loraDropout = 0.0

    func validate() throws {
        guard (0..<1).contains(labelSmoothing), (0..<1).contains(loraDropout) else {
            throw ValidationError(
                "--label-smoothing and --lora-dropout: expected 0 or more and less than 1.")
        }
        guard neftuneAlpha >= 0, neftuneAlpha.isFinite else {
            throw ValidationError("--neftune-alpha: expected 0 or more.")
        }
    }

    func apply(to options: inout FineTuning.Options) {
        options.training.regularization.labelSmoothing = labelSmoothing
        options.training.regularization.embeddingNoise = neftuneAlpha
        options.training.regularization.dropout = loraDropout
    }
}
