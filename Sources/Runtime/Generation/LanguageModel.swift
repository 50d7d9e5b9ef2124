import Foundation
public import LorikeetQuant

/// A model from its files to text: weights, tokenizer and chat template of one checkpoint.
///
/// ```swift
/// let model = try LanguageModel(path: "smollm2-nf4", compute: Compute())
/// let prompt = try model.chatPrompt([ChatMessage(role: "user", content: "Hello")])
/// let answer = try TextGenerator(model).generate(GenerationRequest(prompt: prompt))
/// ```
public final class LanguageModel: Sendable {
    /// The files it came from.
    public let checkpoint: any Checkpoint
    /// The weights.
    public let model: DecoderModel
    /// The tokenizer.
    public let tokenizer: Tokenizer
    /// How a conversation becomes a prompt; nil for a base model without a template.
    public let chatTemplate: ChatTemplate?
    /// Tokens that end an answer.
    public let endTokens: Set<Int32>
    /// What it computes on.
    public let compute: Compute

    /// Opens the Hugging Face folder or GGUF file at `path`; weights are mapped.
    public init(path: String, compute: Compute) throws {
        checkpoint = try Checkpoints.open(path)
        self.compute = compute
        // Meanwhile: a tokenizer of 50,000 tokens takes a thread 15 ms.
        let text = Background { [checkpoint] in
            let files = try TokenizerFiles(checkpoint)
            return (try files.tokenizer(), try files.chatTemplate())
        }
        let model = Result { [checkpoint] in try DecoderModel(checkpoint: checkpoint, on: compute) }
        (tokenizer, chatTemplate) = try text.value()
        self.model = try model.get()
        guard tokenizer.vocabularyCount <= self.model.configuration.vocabularySize else {
            throw LorikeetError(
                .mismatch, path, "the tokenizer has more tokens than the embedding has rows",
                expected: "at most \(self.model.configuration.vocabularySize)",
                got: "\(tokenizer.vocabularyCount)")
        }
        endTokens = try Self.endTokens(checkpoint, tokenizer)
    }

    /// The tokens of a conversation, ready for the assistant's answer.
    ///
    /// - Throws: `.unsupported` when the model has no chat template.
    public func chatPrompt(_ messages: [ChatMessage]) throws -> [Int32] {
        guard let chatTemplate else {
            throw LorikeetError(
                .unsupported, checkpoint.path, "the model has no chat template",
                advice: "Give a plain prompt, or use an instruction-tuned model.")
        }
        let text = try chatTemplate.render(messages, addGenerationPrompt: true)
        // The template writes the special tokens itself.
        return tokenizer.encode(text, addSpecialTokens: false)
    }

    /// `eos_token_id` of generation_config.json, else of config.json, else the tokenizer's.
    private static func endTokens(
        _ checkpoint: any Checkpoint, _ tokenizer: Tokenizer
    ) throws -> Set<Int32> {
        var sources = [checkpoint.configuration]
        if let data = try checkpoint.file("generation_config.json") {
            let source = checkpoint.path + "/generation_config.json"
            sources.insert(
                try data.withUnsafeBytes { try JSON(parsing: $0, source: source) }, at: 0)
        }
        for source in sources {
            guard let value = source["eos_token_id"] else { continue }
            let ids = (value.array ?? [value]).compactMap(\.int).compactMap(Int32.init(exactly:))
            if !ids.isEmpty { return Set(ids) }
        }
        return Set([tokenizer.endOfText].compactMap { $0 })
    }
}
