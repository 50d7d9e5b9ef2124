import ArgumentParser
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// The model a command runs, with its adapters.
struct ModelOptions: ParsableArguments {
    @Option(
        name: [.short, .long], help: "A Hugging Face folder, quantized or not, or a GGUF file.")
    var model: String

    @Option(name: [.short, .long], help: "A PEFT folder or a bundle; several are added up.")
    var adapter: [String] = []

    @OptionGroup var precision: PrecisionOptions

    /// What the command computes on.
    func compute(_ common: CommonOptions, unlessGiven usual: Precision = .int16) -> Compute {
        common.compute(precision, unlessGiven: usual)
    }

    /// Maps the model and loads the adapters over it.
    func load(
        _ common: CommonOptions, unlessGiven usual: Precision = .int16
    ) throws -> (LanguageModel, (any LowRankDeltas)?) {
        let model = try LanguageModel(path: model, compute: compute(common, unlessGiven: usual))
        let adapters = try adapter.map { path in
            let adapter = try Adapters.load(path, over: model)
            Terminal.note("\(path): \(adapter.line)")
            return adapter
        }
        switch adapters.count {
        case 0: return (model, nil)
        case 1: return (model, adapters[0])
        default: return (model, try DeltaSum(adapters))
        }
    }
}

extension Adapter {
    /// What a person wants to know of an adapter that was just loaded.
    var line: String {
        let method = manifest?.method ?? configuration.method
        return "\(method), rank \(configuration.rank), \(moduleCount) modules, "
            + "\(parameterCount) parameters"
    }
}
