import ArgumentParser
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime

/// `lorikeet logits --model DIR --tokens 1,2,3 --output F.safetensors`.
struct Logits: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a model's logits for a sequence of tokens as a safetensors file.",
        discussion: """
            The file holds one fp32 tensor `logits` [tokens, vocabulary], computed in fp32 unless --precision says \
            otherwise.
            """)

    @OptionGroup var model: ModelOptions

    @Option(help: "Token ids, separated by commas.")
    var tokens: String

    @Option(name: [.short, .long], help: "The file to write.")
    var output: String

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        let ids = try tokens.split(separator: ",", omittingEmptySubsequences: false).map { word in
            guard let id = Int32(word.trimmingPrefix(while: \.isWhitespace)) else {
                throw ValidationError("--tokens: '\(word)' is not a token id.")
            }
            return id
        }
        try AtomicOutput.requireAbsent(output, unless: outputOptions.force)
        // Ids come in and logits go out: a folder without a tokenizer will do.
        let checkpoint = try Checkpoints.open(model.model)
        // Whoever asks for logits compares them.
        let compute = self.model.compute(common, unlessGiven: .fp32)
        let model = try DecoderModel(checkpoint: checkpoint, on: compute)
        let adapter = try Adapters.sum(
            self.model.adapter, over: model, of: checkpoint, on: compute)
        let pass = InferencePass(model: model, compute: compute)
        let cache = pass.makeCache(capacity: max(ids.count, 1))
        let logits = try pass.forward(
            ids, cache: cache, adapter: pass.pack(adapter), logits: .all)
        let tensor = TensorDescription(
            name: "logits", type: .f32, shape: [ids.count, model.configuration.vocabularySize])
        try SafetensorsWriter.write(to: output, [tensor]) {
            try $0.write(UnsafeRawBufferPointer(logits), as: tensor.name)
        }
        let shape = JSON.array(tensor.shape.map { .int($0) })
        if common.json {
            Terminal.print(["output": .string(output), "shape": shape])
        } else {
            Terminal.print("\(output): logits \(shape.text())")
        }
    }
}
