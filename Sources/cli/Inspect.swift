import ArgumentParser
import LorikeetAdapters
import LorikeetRuntime

/// `lorikeet inspect PATH`.
struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a model, a tensor file, an adapter or a bundle holds.")

    @Argument(help: "A Hugging Face or PEFT folder, a .gguf, a .safetensors or a bundle.")
    var path: String

    @OptionGroup var common: CommonOptions

    func run() throws {
        if Adapters.isAdapter(path) {
            let summary = try Adapters.inspect(path).summary
            Terminal.print(summary.text(pretty: !common.json))
            return
        }
        let inspection = try inspect(path)
        if common.json {
            Terminal.print(inspection.json)
        } else {
            Terminal.print(inspection.description)
        }
    }
}
