import LorikeetQuant

/// What to generate from.
public struct GenerationRequest: Sendable {
    /// The prompt's tokens; at least one.
    public var prompt: [Int32]
    /// The longest answer.
    public var maximumTokens = 256
    /// How tokens are chosen.
    public var sampling = SamplingParameters()
    /// Texts that end the answer and are not part of it.
    public var stopStrings: [String] = []

    /// Greedy generation of at most 256 tokens after `prompt`.
    public init(prompt: [Int32]) { self.prompt = prompt }
}

/// A finished answer.
public struct Generation: Sendable {
    /// Why it ended.
    public enum FinishReason: String, Sendable {
        /// An end token or a stop string.
        case stop
        /// The longest length asked for, or the model's.
        case length
        /// The caller stopped it.
        case cancelled
    }

    /// The answer's text, without special tokens and stop strings.
    public var text = ""
    /// Every token chosen, an end token included.
    public var choices: [Sampler.Choice] = []
    /// Why it ended.
    public var finishReason = FinishReason.length
    /// Tokens of the prompt, and how many of them were still cached.
    public var promptTokens = 0
    /// Of the prompt's tokens, those whose keys and values were cached already.
    public var cachedTokens = 0
    /// Seconds from the start to the first token.
    public var prefillSeconds = 0.0
    /// Seconds for the tokens after the first.
    public var decodeSeconds = 0.0

    /// Prompt tokens computed per second.
    public var prefillTokensPerSecond: Double {
        prefillSeconds > 0 ? Double(promptTokens - cachedTokens) / prefillSeconds : 0
    }

    /// Tokens generated per second after the first.
    public var decodeTokensPerSecond: Double {
        decodeSeconds > 0 ? Double(choices.count - 1) / decodeSeconds : 0
    }
}

/// Generates answers one at a time and keeps the last one's keys and values for the next.
///
/// A conversation's next prompt begins with all that was said before, and only what is new runs.
/// The cache belongs to one adapter: with another one nothing is reused.
public final class TextGenerator {
    private let model: LanguageModel
    private let pass: InferencePass
    private let cached: TokenCache
    private var cachedAdapter: (any LowRankDeltas)?
    // As the pass takes it.
    private var packed: PackedDeltas?

    /// A generator for sequences of at most `capacity` tokens (the model's limit by default).
    public init(_ model: LanguageModel, capacity: Int? = nil) {
        self.model = model
        pass = InferencePass(model: model.model, compute: model.compute)
        cached = TokenCache(pass.makeCache(capacity: capacity))
    }

    /// Generates an answer.
    ///
    /// - Parameters:
    ///   - request: the prompt, and how to go on from it.
    ///   - adapter: the adapter to answer with, or nil for the base.
    ///   - constraint: what the answer may be, at its beginning; nil for anything.
    ///   - onText: gets each piece of text as soon as it is certain; returns whether to go on.
    /// - Returns: the whole answer.
    /// - Throws: `LorikeetError` for an empty prompt, a token outside the vocabulary, or a prompt
    ///   that leaves no room for an answer.
    public func generate(
        _ request: GenerationRequest, adapter: (any LowRankDeltas)? = nil,
        constraint: (any TokenConstraint)? = nil, onText: (String) -> Bool = { _ in true }
    ) throws -> Generation {
        let prompt = request.prompt
        guard prompt.count < cached.cache.capacity else {
            throw LorikeetError(
                .invalidArgument, "prompt", "leaves no room for an answer",
                expected: "fewer than \(cached.cache.capacity) tokens", got: "\(prompt.count)")
        }
        var generation = Generation()
        generation.promptTokens = prompt.count
        generation.cachedTokens = reuse(prompt, adapter)

        let clock = ContinuousClock()
        let start = clock.now
        var logits = try forward(Array(prompt[generation.cachedTokens...]))

        var sampler = Sampler(
            request.sampling, prompt: prompt, vocabulary: logits.count, compute: model.compute)
        var decoder = model.tokenizer.streamingDecoder(skipSpecialTokens: true)
        var stops = StopStrings(request.stopStrings)
        let room = min(request.maximumTokens, cached.cache.capacity - prompt.count)
        var firstToken = start
        let allowed = constraint.map { _ in TokenMask(count: logits.count) }
        func emit(_ text: String) -> Bool {
            generation.text += text
            return text.isEmpty || onText(text)
        }

        while generation.choices.count < room {
            if let allowed { constraint?.writeAllowedTokens(to: allowed) }
            let choice = sampler.next(logits, allowed: allowed)
            constraint?.accept(choice.token)
            generation.choices.append(choice)
            if generation.choices.count == 1 {
                firstToken = clock.now
                generation.prefillSeconds = start.duration(to: firstToken).seconds
            }
            guard !model.endTokens.contains(choice.token) else {
                generation.finishReason = .stop
                break
            }
            guard emit(stops.append(decoder.append(choice.token))) else {
                generation.finishReason = .cancelled
                break
            }
            guard !stops.isStopped else {
                generation.finishReason = .stop
                break
            }
            guard generation.choices.count < room else { break }
            logits = try forward([choice.token])
        }
        _ = emit(stops.append(decoder.finish()))
        _ = emit(stops.finish())
        generation.decodeSeconds = firstToken.duration(to: clock.now).seconds
        return generation
    }

    /// Forgets what was said before.
    public func reset() {
        cached.truncate(to: 0)
        cachedAdapter = nil
        packed = nil
    }

    private func forward(_ tokens: [Int32]) throws -> UnsafeBufferPointer<Float> {
        let logits = try pass.forward(tokens, cache: cached.cache, adapter: packed)
        cached.append(tokens)
        return logits
    }

    /// Keeps what the cache shares with `prompt` and returns how many tokens that is.
    private func reuse(_ prompt: [Int32], _ adapter: (any LowRankDeltas)?) -> Int {
        if adapter !== cachedAdapter {
            reset()
            packed = pass.pack(adapter)
        }
        cachedAdapter = adapter
        // The last token runs again: its logits are not kept.
        return cached.keep(prefixOf: prompt, atMost: max(0, prompt.count - 1))
    }
}

extension Duration {
    /// The duration in seconds.
    package var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
