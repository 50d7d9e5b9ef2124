import LorikeetQuant
import LorikeetRuntime

/// A request in the batch: its tokens, its keys and values, and how its next token is chosen.
///
/// The engine's thread alone uses it.
final class EngineSequence {
    /// Where it came from.
    let submission: EngineSubmission
    /// The keys and values of its first tokens.
    let cache: KVCache
    /// The prompt, then what was chosen; all but the last of the answer have run, or will.
    private(set) var tokens: [Int32]
    /// Whether it is over.
    private(set) var isFinished = false

    private let room: Int
    private let endTokens: Set<Int32>
    private var sampler: Sampler
    private var decoder: StreamingDecoder
    private var stops: StopStrings
    private let start = ContinuousClock().now
    private var firstToken: ContinuousClock.Instant?
    private var cachedTokens = 0

    /// Begins a request.
    ///
    /// - contextLength: the longest sequence.
    init(
        _ submission: EngineSubmission, _ model: LanguageModel, cache: KVCache, contextLength: Int
    ) {
        let request = submission.request
        self.submission = submission
        self.cache = cache
        tokens = request.prompt
        room = min(request.maximumTokens ?? .max, contextLength - request.prompt.count)
        endTokens = request.ignoresEndTokens ? [] : model.endTokens
        sampler = Sampler(
            request.sampling, prompt: request.prompt,
            vocabulary: model.model.configuration.vocabularySize, compute: model.compute)
        decoder = model.tokenizer.streamingDecoder(skipSpecialTokens: true)
        stops = StopStrings(request.stopStrings)
    }

    /// Tokens that must run before the next one can be chosen.
    var pending: ArraySlice<Int32> { tokens[cache.count...] }

    /// How many tokens were chosen.
    var answerCount: Int { tokens.count - submission.request.prompt.count }

    /// Tells that the first pass is to come.
    func begin(cachedTokens: Int) {
        self.cachedTokens = cachedTokens
        submission.send(.started(cachedTokens: cachedTokens))
        if room < 1 { finish(.length) }
    }

    /// Chooses the next token from its logits [vocabulary].
    ///
    /// The slow half of a step's rest, which threads share: nothing is told yet.
    func choose(from logits: UnsafeBufferPointer<Float>) -> Sampler.Choice { sampler.next(logits) }

    /// Takes the chosen token on, and tells who asked.
    func take(_ choice: Sampler.Choice) {
        tokens.append(choice.token)
        if firstToken == nil { firstToken = ContinuousClock().now }
        guard !endTokens.contains(choice.token) else {
            submission.send(.token(choice, text: ""))
            return finish(.stop)
        }
        let text = stops.append(decoder.append(choice.token))
        submission.send(.token(choice, text: text))
        if stops.isStopped {
            finish(.stop)
        } else if answerCount >= room {
            finish(.length)
        }
    }

    /// Ends the sequence, and tells who asked.
    func finish(_ reason: Generation.FinishReason) {
        isFinished = true
        let now = ContinuousClock().now
        let text = stops.append(decoder.finish()) + stops.finish()
        submission.send(
            .finished(
                EngineResult(
                    finishReason: stops.isStopped ? .stop : reason, text: text,
                    promptTokens: submission.request.prompt.count, cachedTokens: cachedTokens,
                    completionTokens: answerCount,
                    queueSeconds: (start - submission.arrival).seconds,
                    prefillSeconds: ((firstToken ?? now) - start).seconds,
                    decodeSeconds: (now - (firstToken ?? now)).seconds)))
    }

    /// Ends the sequence with an error.
    func fail(_ error: LorikeetError) {
        isFinished = true
        submission.send(.failed(error))
    }
}
