import ArgumentParser
import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet quality --model DIR --reference PATH --text FILE`.
struct Quality: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure what a quantized model has lost of the one it was made from.",
        discussion: """
            Both models predict a text, in windows as perplexity cuts them; printed are both perplexities, the mean \
            KL divergence of the model's predictions from the reference's, and how often both have the same \
            likeliest token. Arithmetic is fp32 unless --precision says otherwise.
            """)

    @OptionGroup var model: ModelOptions

    @Option(name: [.short, .long], help: "What it was made from, likewise.")
    var reference: String

    @Option(help: "A UTF-8 text file.")
    var text: String

    @Option(help: "Tokens in a window.")
    var context = 512

    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard context >= 2 else {
            throw ValidationError("--context \(context): expected 2 or more.")
        }
    }

    func run() throws {
        let file = try MappedFile(path: text)
        let (model, adapter) = try model.load(common, unlessGiven: .fp32)
        let compute = model.compute
        let reference = try DecoderModel(checkpoint: Checkpoints.open(reference), on: compute)
        let tokens = withExtendedLifetime(file) {
            model.tokenizer.encode(bytes: file.bytes, addSpecialTokens: false)
        }
        Interrupt.listen()
        var bar = ProgressBar("quality", total: tokens.count / context)
        let result = try QualityComparison(
            of: tokens, model: model.model, adapter: adapter, reference: reference,
            context: context,
            on: compute
        ) { done, _ in
            bar.update(
                done, String(format: "%.0f tokens/s", Double(done * context) / bar.elapsed))
            return !Interrupt.isRequested
        }
        bar.finish()
        if common.json {
            Terminal.print([
                "perplexity": .double(result.perplexity),
                "reference_perplexity": .double(result.referencePerplexity),
                "kl_divergence": .double(result.divergence.divergence),
                "agreement": .double(result.divergence.agreement), "tokens": .int(result.tokens),
                "windows": .int(result.windows),
            ])
        } else {
            Terminal.print(
                String(
                    format: """
                        perplexity %.4f, reference %.4f (%+.2f %%)
                        KL divergence %.5f nats a token, the same likeliest token at %.2f %%
                        over %d tokens in %d windows of %d
                        """, result.perplexity, result.referencePerplexity, 100 * result.loss,
                    result.divergence.divergence, 100 * result.divergence.agreement,
                    result.tokens, result.windows, context))
        }
    }
}
