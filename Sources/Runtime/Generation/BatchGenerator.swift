import LorikeetQuant

/// Greedy answers to many prompts, several at a time.
///
/// Decoding one sequence reads every weight for a single token; here several share the reading. A
/// sequence that ends makes room for the next prompt at once, whose tokens run in the same pass as the
/// others' next ones, without those that its predecessor in the cache began with too.
///
/// ```swift
/// let generator = BatchGenerator(model, sequences: 16)
/// try generator.generate(requests, adapter: nil) { index, text in
///     print(index, text)
///     return true
/// }
/// ```
public final class BatchGenerator {
    /// What to answer.
    public struct Request: Sendable {
        /// The prompt's tokens; at least one.
        public var prompt: [Int32]
        /// The longest answer.
        public var maximumTokens: Int

        /// An answer of at most `maximumTokens` after `prompt`.
        public init(prompt: [Int32], maximumTokens: Int) {
            self.prompt = prompt
            self.maximumTokens = maximumTokens
        }
    }

    private let model: LanguageModel
    private let pass: InferencePass
    private let caches: [TokenCache]

    /// A generator of `sequences` answers at a time.
    public init(_ model: LanguageModel, sequences: Int) {
        precondition(sequences > 0, "\(sequences) sequences")
        self.model = model
        pass = InferencePass(model: model.model, compute: model.compute)
        caches = (0..<sequences).map { [pass] _ in TokenCache(pass.makeCache()) }
    }

    // An answer that is being written.
    private struct Answer {
        let index: Int
        let request: Request
        let cache: TokenCache
        var decoder: StreamingDecoder
        // What the next pass appends.
        var next: [Int32]
        var text = ""
        var count = 0
        var isFinished = false
    }

    /// Answers every request.
    ///
    /// - Parameters:
    ///   - requests: the prompts.
    ///   - adapter: the adapter to answer with, or nil for the base.
    ///   - isComplete: gets a request's index and its answer so far; returns whether that is enough.
    ///   - onAnswer: gets a request's index and its answer, without special tokens, as soon as it is
    ///     finished, which is in any order; returns whether to go on.
    /// - Throws: `LorikeetError` for a prompt without tokens, a token outside the vocabulary, or more
    ///   tokens than the model has positions.
    public func generate(
        _ requests: [Request], adapter: (any LowRankDeltas)?,
        isComplete: (Int, String) -> Bool = { _, _ in false },
        onAnswer: (Int, String) -> Bool
    ) throws {
        let adapter = pass.pack(adapter)
        for cache in caches { cache.truncate(to: 0) }
        var free = caches
        var answers: [Answer] = []
        var started = 0
        while true {
            while started < requests.count, let cache = free.popLast() {
                answers.append(begin(requests[started], index: started, in: cache))
                started += 1
            }
            guard !answers.isEmpty else { return }
            let tokens = try step(answers, adapter)
            for (i, token) in tokens.enumerated() { take(token, into: &answers[i], isComplete) }
            for answer in answers where answer.isFinished {
                free.append(answer.cache)
                guard onAnswer(answer.index, answer.text) else { return }
            }
            answers.removeAll(where: \.isFinished)
        }
    }

    private func begin(_ request: Request, index: Int, in cache: TokenCache) -> Answer {
        // The last token runs in any case: its logits are not kept.
        let kept = cache.keep(
            prefixOf: request.prompt, atMost: max(0, request.prompt.count - 1))
        return Answer(
            index: index, request: request, cache: cache,
            decoder: model.tokenizer.streamingDecoder(skipSpecialTokens: true),
            next: Array(request.prompt[kept...]))
    }

    /// The likeliest next token of each answer.
    private func step(_ answers: [Answer], _ adapter: PackedDeltas?) throws -> [Int32] {
        let logits = try pass.forward(
            answers.map {
                InferencePass.Input($0.next, after: $0.cache.cache, adapter: adapter)
            })
        for answer in answers { answer.cache.append(answer.next) }
        let V = model.model.configuration.vocabularySize
        let tokens = Buffer<Int32>(answers.count)
        model.compute.pool.split(answers.count) { _, begin, end in
            for i in begin..<end {
                let row = logits[i * V..<(i + 1) * V]
                tokens[i] = UnsafeBufferPointer(rebasing: row).likeliestToken
            }
        }
        return tokens.array
    }

    private func take(
        _ token: Int32, into answer: inout Answer, _ isComplete: (Int, String) -> Bool
    ) {
        answer.count += 1
        answer.next = [token]
        let isEnd = model.endTokens.contains(token)
        if !isEnd { answer.text += answer.decoder.append(token) }
        if isEnd || answer.count >= answer.request.maximumTokens {
            answer.text += answer.decoder.finish()
            answer.isFinished = true
        } else if isComplete(answer.index, answer.text) {
            answer.isFinished = true
        }
    }
}
