/// How likely a model finds given texts, several sequences at a time.
///
/// What sequences begin with in common is computed once: a question's prompt, and as much of the
/// continuations as they share, for all of them; and what a sequence shares with its predecessor in the
/// same cache, such as a chat template's opening, not again.
public final class LikelihoodScorer {
    /// A prompt, and what may follow it.
    public struct Question: Sendable {
        /// The prompt's tokens; at least one.
        public var prompt: [Int32]
        /// The continuations' tokens; at least one each.
        public var continuations: [[Int32]]

        /// `continuations` of `prompt`.
        public init(prompt: [Int32], continuations: [[Int32]]) {
            self.prompt = prompt
            self.continuations = continuations
        }

        // How many tokens all continuations begin with.
        fileprivate var sharedCount: Int {
            continuations.dropFirst().reduce(continuations.first?.count ?? 0) { count, other in
                zip(continuations[0].prefix(count), other).prefix { $0 == $1 }.count
            }
        }
    }

    /// How many sequences it takes at a time.
    public var count: Int { caches.count }

    private let adapter: PackedDeltas?
    private let pass: InferencePass
    private let caches: [TokenCache]

    /// A scorer of `sequences` at a time, with an adapter whose factors do not change meanwhile.
    public init(_ model: LanguageModel, adapter: (any LowRankDeltas)?, sequences: Int) {
        precondition(sequences > 0, "\(sequences) sequences")
        pass = InferencePass(model: model.model, compute: model.compute)
        self.adapter = pass.pack(adapter)
        caches = (0..<sequences).map { [pass] _ in TokenCache(pass.makeCache()) }
    }

    /// log p of each continuation of each question, given its prompt: the sum over its tokens.
    ///
    /// - questions: at most `count`.
    /// - Throws: `LorikeetError` for a token outside the vocabulary, or more tokens than the model has
    ///   positions.
    public func logLikelihoods(of questions: [Question]) throws -> [[Double]] {
        let shared = questions.map(\.sharedCount)
        // Of each question: log p of the shared tokens, then of every continuation's next one.
        let begun = try score(
            questions.indices.map { i in
                let (question, shared) = (questions[i], shared[i])
                let begin = question.prompt.count - 1
                let common = question.continuations.first?.prefix(shared) ?? []
                let next = question.continuations.compactMap { $0.dropFirst(shared).first }
                return Scored(
                    tokens: question.prompt + common,
                    targets: common.enumerated().map { .init(position: begin + $0, token: $1) }
                        + next.map { .init(position: begin + shared, token: $0) })
            })
        var sums = questions.indices.map { i in
            var rest = begun[i].dropFirst(shared[i]).map(Double.init)[...]
            let common = begun[i].prefix(shared[i]).reduce(0) { $0 + Double($1) }
            return questions[i].continuations.map {
                common + ($0.count > shared[i] ? rest.removeFirst() : 0)
            }
        }
        let most = questions.map(\.continuations.count).max() ?? 0
        for choice in 0..<most {
            // What follows a continuation's first own token is scored by going back to the shared ones.
            let longer = questions.indices.filter {
                choice < questions[$0].continuations.count
                    && questions[$0].continuations[choice].count > shared[$0] + 1
            }
            guard !longer.isEmpty else { continue }
            let tails = longer.map { Array(questions[$0].continuations[choice][shared[$0]...]) }
            let scores = try pass.logProbabilities(
                of: tails.map { tail in
                    (1..<tail.count).map { .init(position: $0 - 1, token: tail[$0]) }
                },
                in: zip(longer, tails).map { i, tail in
                    InferencePass.Input(
                        Array(tail.dropLast()), after: caches[i].cache, adapter: adapter)
                })
            for (i, scores) in zip(longer, scores) {
                sums[i][choice] += scores.reduce(0) { $0 + Double($1) }
                caches[i].truncate(to: questions[i].prompt.count + shared[i])
            }
        }
        return sums
    }

    /// log p of the labels of each row, given what precedes them: the sum over those not masked.
    ///
    /// - rows: at most `count`, each with at least one target.
    /// - Throws: as `logLikelihoods(of:)` of questions does.
    public func logLikelihoods(of rows: [TrainingRow]) throws -> [Double] {
        try score(
            rows.map { row in
                Scored(
                    tokens: row.inputIDs,
                    targets: row.labels.indices.dropFirst().compactMap {
                        row.labels[$0] == TrainingRow.masked
                            ? nil : .init(position: $0 - 1, token: row.labels[$0])
                    })
            }
        ).map { $0.reduce(0) { $0 + Double($1) } }
    }

    // A sequence, and what is asked of it; the first target is at the lowest position.
    private struct Scored {
        let tokens: [Int32]
        let targets: [InferencePass.Target]
    }

    // Leaves the i-th sequence in the i-th cache.
    private func score(_ sequences: [Scored]) throws -> [[Float]] {
        precondition(sequences.count <= count, "\(sequences.count) sequences for \(count) caches")
        let kept = zip(caches, sequences).map { cache, sequence in
            cache.keep(prefixOf: sequence.tokens, atMost: sequence.targets.first?.position ?? 0)
        }
        let inputs = sequences.indices.map { i in
            InferencePass.Input(
                Array(sequences[i].tokens[kept[i]...]), after: caches[i].cache, adapter: adapter)
        }
        let scores = try pass.logProbabilities(
            of: sequences.indices.map { i in
                sequences[i].targets.map {
                    .init(position: $0.position - kept[i], token: $0.token)
                }
            }, in: inputs)
        for (cache, input) in zip(caches, inputs) { cache.append(input.tokens) }
        return scores
    }
}
