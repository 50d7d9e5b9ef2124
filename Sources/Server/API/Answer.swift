import LorikeetRuntime

/// An answer as it grows from an engine's events.
struct Answer {
    /// The text so far.
    private(set) var text = ""
    /// The prompt's tokens, where they were asked for.
    private(set) var prompt: (first: Int32, rest: [Sampler.Choice])?
    /// The tokens so far, without end tokens.
    private(set) var choices: [Sampler.Choice] = []
    /// How it ended; nil until then.
    private(set) var result: EngineResult?

    private let endTokens: Set<Int32>

    /// An empty answer of a model that these tokens end.
    init(endTokens: Set<Int32>) { self.endTokens = endTokens }

    /// What an event adds: a piece of text, and the token that it came with, unless that ends the answer.
    mutating func add(_ event: EngineEvent) -> (text: String, choice: Sampler.Choice?) {
        switch event {
        case .started, .failed: return ("", nil)
        case .prompt(let first, let rest):
            prompt = (first, rest)
            return ("", nil)
        case .token(let choice, let piece):
            text += piece
            guard !endTokens.contains(choice.token) else { return (piece, nil) }
            choices.append(choice)
            return (piece, choice)
        case .finished(let result):
            self.result = result
            text += result.text
            return (result.text, nil)
        }
    }
}

extension EngineResult {
    /// OpenAI's word for why an answer ended.
    var reason: String { finishReason == .length ? "length" : "stop" }
}
