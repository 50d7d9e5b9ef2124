import ArgumentParser
import Foundation
import LorikeetRuntime

/// `lorikeet perplexity --model DIR --text FILE`.
struct Perplexity: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how well a model predicts a text.",
        discussion: """
            The text is cut into windows without overlap; every token but a window's first is scored; \
            a partial last window is dropped.
            """)

    @OptionGroup var model: ModelOptions

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
        let (model, adapter) = try model.load(common)
        let file = try MappedFile(path: text)
        let tokens = withExtendedLifetime(file) {
            model.tokenizer.encode(bytes: file.bytes, addSpecialTokens: false)
        }
        Interrupt.listen()
        var bar = ProgressBar("perplexity", total: tokens.count / context)
        let result = try LorikeetRuntime.Perplexity(
            of: tokens, model: model, adapter: adapter, context: context
        ) { done, _, perplexity in
            bar.update(done, String(format: "%.3f", perplexity))
            return !Interrupt.isRequested
        }
        bar.finish()
        if common.json {
            Terminal.print([
                "perplexity": .double(result.perplexity), "tokens": .int(result.tokens),
                "windows": .int(result.windows),
            ])
        } else {
            Terminal.print(
                String(
                    format: "perplexity %.4f over %d tokens in %d windows of %d", result.perplexity,
                    result.tokens, result.windows, context))
        }
    }
}
