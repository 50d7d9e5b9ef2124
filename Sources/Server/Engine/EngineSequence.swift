import LorikeetQuant
import LorikeetRuntime

/// A request that waits or runs: its tokens, its keys and values, and how its next token is chosen.
///
/// The engine's thread alone uses it.
final class EngineSequence {
    /// Where it came from.
    let submission: EngineSubmission
    /// The keys and values of its first tokens.
    private(set) var cache: KVCache
    /// The prompt, then what was chosen.
    private(set) var tokens: [Int32]
    /// Whether it is over.
    private(set) var isFinished = false
    /// When its prompt began to run.
    private(set) var start: ContinuousClock.Instant?

    private let model: LanguageModel
    private let pool: KVPool
    private let room: Int
    private let endTokens: Set<Int32>
    // Made when it runs: it has memory for a vocabulary.
    private var sampler: Sampler?
    private var constraint: (mask: TokenMask, rule: any TokenConstraint)?
    private var decoder: StreamingDecoder
    private var stops: StopStrings
    // What is reported of the prompt's tokens after the first.
    private var promptChoices: [Sampler.Choice] = []
    private var firstToken: ContinuousClock.Instant?
    private var cachedTokens = 0
    // Full pages that the prefix cache knows of.
    private var keptPages = 0

    /// A request that waits.
    ///
    /// - contextLength: the longest sequence.
    init(
        _ submission: EngineSubmission, _ model: LanguageModel, pool: KVPool, contextLength: Int
    ) {
        let request = submission.request
        self.submission = submission
        self.model = model
        self.pool = pool
        cache = KVCache(in: pool, capacity: contextLength)
        tokens = request.prompt
        room = min(request.maximumTokens ?? .max, contextLength - request.prompt.count)
        endTokens =
            request.ignoresEndTokens && request.constraint == nil ? [] : model.endTokens
        decoder = model.tokenizer.streamingDecoder(skipSpecialTokens: true)
        stops = StopStrings(request.stopStrings)
    }

    /// What its keys and values belong to; "" for the base.
    var adapterKey: String { submission.request.adapter?.key ?? "" }

    /// How many tokens must run before the next one can be chosen.
    var pendingCount: Int { tokens.count - cache.count }

    /// Whether tokens of the prompt are yet to be reported: their logits come from running them, not from a
    /// cache.
    var needsPromptLogits: Bool {
        let request = submission.request
        return request.reportsPrompt && promptChoices.count < request.prompt.count - 1
    }

    private var answerCount: Int { tokens.count - submission.request.prompt.count }

    // MARK: Running

    /// Takes a place in the batch: memory for all tokens there are, and `prefix`, which holds the first of them.
    func begin(with prefix: [KVPage]) {
        cache.begin(with: prefix)
        keptPages = prefix.count
        cache.reserve(pendingCount)
        guard start == nil else { return }
        start = ContinuousClock().now
        cachedTokens = cache.count
        submission.send(.started(cachedTokens: cachedTokens))
        if submission.request.reportsPrompt, !needsPromptLogits { reportPrompt() }
        if room < 1, !needsPromptLogits { finish(.length) }
        let vocabulary = model.model.configuration.vocabularySize
        sampler = Sampler(
            submission.request.sampling, prompt: submission.request.prompt,
            vocabulary: vocabulary, compute: model.compute)
        constraint = submission.request.constraint.map {
            (TokenMask(count: vocabulary), $0.makeConstraint())
        }
    }

    /// Gives its place and its memory up; it will begin again, with what it has chosen so far.
    func setBack() { cache = KVCache(in: pool, capacity: cache.capacity) }

    /// The next tokens to run, so many at most.
    func input(atMost limit: Int) -> InferencePass.Input {
        var input = InferencePass.Input(
            Array(tokens[cache.count...].prefix(limit)), after: cache,
            adapter: submission.request.adapter?.deltas)
        input.wantsEveryLogit = needsPromptLogits
        return input
    }

    /// Notes what is reported of the token behind `position`, if it is of the prompt and was not noted before
    /// the sequence was set back.
    func read(_ logits: UnsafeBufferPointer<Float>, after position: Int) {
        guard needsPromptLogits, position == promptChoices.count, let sampler else { return }
        promptChoices.append(
            sampler.choice(of: submission.request.prompt[position + 1], logits))
        guard !needsPromptLogits else { return }
        reportPrompt()
    }

    private func reportPrompt() {
        submission.send(.prompt(first: submission.request.prompt[0], rest: promptChoices))
    }

    /// Ends a sequence whose prompt was all that was asked for, once it has run.
    func finishIfComplete() {
        if pendingCount == 0, room < 1 { finish(.length) }
    }

    /// The full pages, where there are more than at the last call.
    func newlyFullPages() -> ArraySlice<KVPage>? {
        let full = cache.count / KVPool.positions
        guard full > keptPages else { return nil }
        keptPages = full
        return cache.pages[..<full]
    }

    /// Chooses the next token from its logits [vocabulary]; nothing is told yet, so that threads can share it.
    func choose(from logits: UnsafeBufferPointer<Float>) -> Sampler.Choice? {
        guard let constraint else { return sampler?.next(logits) }
        constraint.rule.writeAllowedTokens(to: constraint.mask)
        guard let choice = sampler?.next(logits, allowed: constraint.mask) else { return nil }
        if !endTokens.contains(choice.token) { constraint.rule.accept(choice.token) }
        return choice
    }

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

    // MARK: Ending

    /// Ends the sequence, and tells who asked.
    func finish(_ reason: Generation.FinishReason) {
        isFinished = true
        let now = ContinuousClock().now
        let text = stops.append(decoder.finish()) + stops.finish()
        let begin = start ?? now
        submission.send(
            .finished(
                EngineResult(
                    finishReason: stops.isStopped ? .stop : reason, text: text,
                    promptTokens: submission.request.prompt.count, cachedTokens: cachedTokens,
                    completionTokens: answerCount,
                    queueSeconds: (begin - submission.arrival).seconds,
                    prefillSeconds: ((firstToken ?? now) - begin).seconds,
                    decodeSeconds: (now - (firstToken ?? now)).seconds)))
    }

    /// Ends the sequence with an error.
    func fail(_ error: LorikeetError) {
        isFinished = true
        submission.send(.failed(error))
    }
}
