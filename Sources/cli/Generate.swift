import ArgumentParser
import Foundation
import LorikeetRuntime

/// `lorikeet generate --model DIR (--prompt TEXT | --chat TEXT)`.
struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Generate text from a prompt.")

    @OptionGroup var model: ModelOptions

    @Option(help: "Text to continue.")
    var prompt: String?

    @Option(help: "What the user says; the model's chat template is put around it.")
    var chat: String?

    @Option(help: "What the system says, before --chat.")
    var system: String?

    @OptionGroup var sampling: SamplingOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (prompt == nil) != (chat == nil) else {
            throw ValidationError("Give either --prompt TEXT or --chat TEXT.")
        }
        guard system == nil || chat != nil else {
            throw ValidationError("--system goes with --chat.")
        }
    }

    func run() throws {
        let (model, adapter) = try model.load(common)
        var request = sampling.request(
            prompt: try prompt.map { model.tokenizer.encode($0) }
                ?? model.chatPrompt(conversation()))
        if !common.json { request.sampling.topLogProbabilities = nil }
        Interrupt.listen()
        let generation = try TextGenerator(model).generate(request, adapter: adapter) { text in
            if !common.json { Terminal.write(text) }
            return !Interrupt.isRequested
        }
        if common.json {
            Terminal.print(generation.json(with: model.tokenizer))
        } else {
            Terminal.print("")
            Terminal.note(generation.timings)
        }
    }

    private func conversation() -> [ChatMessage] {
        let systemTurn = system.map { ChatMessage(role: "system", content: $0) }
        return [systemTurn, ChatMessage(role: "user", content: chat ?? "")].compactMap(\.self)
    }
}

extension SamplingOptions {
    /// A request with these options.
    func request(prompt: [Int32]) -> GenerationRequest {
        var request = GenerationRequest(prompt: prompt)
        request.maximumTokens = maxTokens
        request.stopStrings = stop
        request.sampling.temperature = temperature
        request.sampling.topK = topK
        request.sampling.topP = topP
        request.sampling.minP = minP
        request.sampling.repetitionPenalty = repetitionPenalty
        request.sampling.presencePenalty = presencePenalty
        request.sampling.frequencyPenalty = frequencyPenalty
        request.sampling.seed = seed
        request.sampling.topLogProbabilities = logprobs
        return request
    }
}

extension Generation {
    /// One line on how fast it was.
    fileprivate var timings: String {
        let prefill = String(format: "%.1f", prefillTokensPerSecond)
        let decode = String(format: "%.1f", decodeTokensPerSecond)
        return "\(promptTokens) prompt tokens at \(prefill) tokens/s, "
            + "\(choices.count) new at \(decode) tokens/s, \(finishReason.rawValue)"
    }

    fileprivate func json(with tokenizer: Tokenizer) -> JSON {
        var json: JSON = [
            "text": .string(text), "prompt_tokens": .int(promptTokens),
            "completion_tokens": .int(choices.count),
            "finish_reason": .string(finishReason.rawValue),
            "token_ids": .array(choices.map { .int(Int($0.token)) }),
            "prefill_tokens_per_second": .double(prefillTokensPerSecond),
            "decode_tokens_per_second": .double(decodeTokensPerSecond),
            "peak_memory_bytes": .int(peakMemoryBytes()),
        ]
        // OpenAI's shape: each token with the likeliest ones at its place.
        if choices.contains(where: { !$0.top.isEmpty || $0.logProbability != 0 }) {
            json["logprobs"] = .array(
                choices.map { choice in
                    var entry = tokenizer.json(choice.token, choice.logProbability)
                    entry["top_logprobs"] = .array(
                        choice.top.map { tokenizer.json($0.token, $0.logProbability) })
                    return entry
                })
        }
        return json
    }
}

extension Tokenizer {
    fileprivate func json(_ token: Int32, _ logProbability: Float) -> JSON {
        ["token": .string(decode([token])), "logprob": .double(Double(logProbability))]
    }
}
