import ArgumentParser
import LorikeetAdapters

/// The command line: one subcommand a file.
@main
struct Lorikeet: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lorikeet",
        abstract:
            "Quantize a language model to 4 bits, fine-tune adapters over it, generate with them.",
        discussion: """
            A model is a Hugging Face folder or a GGUF file; an adapter is a PEFT folder or a bundle.
            Results go to standard output, progress and messages to standard error.
            Exit codes: 0 done, 1 bad input, 64 wrong usage, 130 interrupted.
            """,
        version: "0.1.0",
        subcommands: [
            Quantize.self, DataCommands.self, Plan.self, Train.self, Compare.self, Evaluate.self,
            Classify.self, Generate.self, Chat.self, Serve.self, Bundle.self, Export.self,
            Merge.self, Inspect.self, Perplexity.self, Quality.self, Plot.self,
            Bench.self, Logits.self, Tokenize.self, Quickstart.self,
        ])

    static func main() {
        OpenBLAS.useOneThread
        let arguments = Array(CommandLine.arguments.dropFirst())
        var file: ConfigurationFile?
        do {
            file = try ConfigurationFile(namedIn: arguments)
            var command = try parseAsRoot(file?.expanded(arguments) ?? arguments)
            try command.run()
        } catch {
            if exitCode(for: error) != .success {
                file?.places(of: message(for: error)).forEach(Terminal.note)
            }
            exit(withError: error)
        }
    }
}
