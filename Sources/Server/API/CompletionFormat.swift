import LorikeetRuntime

/// How the answers to a request are written: the shapes in which the two routes differ.
protocol CompletionFormat: Sendable {
    /// The name of a whole response.
    var wholeKind: String { get }
    /// The name of a piece of one.
    var pieceKind: String { get }
    /// Writes log probabilities; nil where they were not asked for.
    var logProbabilities: LogProbabilities? { get }

    /// A whole answer.
    func choice(_ index: Int, _ answer: Answer) -> JSON
    /// What comes before an answer's text; nil for nothing.
    func start(_ index: Int) -> JSON?
    /// What comes before an answer's text once the model has read its prompt; nil for nothing.
    func prompt(_ index: Int, first: Int32, rest: [Sampler.Choice]) -> JSON?
    /// Pieces of an answer, with the tokens that they came with.
    mutating func pieces(_ index: Int, text: String, _ choices: [Sampler.Choice]) -> [JSON]
    /// What comes after an answer's text; the last of it tells why it ended.
    mutating func ends(_ index: Int, reason: String) -> [JSON]
}

extension CompletionFormat {
    func prompt(_ index: Int, first: Int32, rest: [Sampler.Choice]) -> JSON? { Optional.none }
}

/// OpenAI's completions: plain text.
struct TextFormat: CompletionFormat {
    /// Writes log probabilities; nil where they were not asked for.
    let logProbabilities: LogProbabilities?
    /// What each answer begins with: its prompt, where that is echoed.
    let prefixes: [String]
    // The characters of each answer so far.
    private var lengths: [Int]

    /// A format of answers with these beginnings.
    init(logProbabilities: LogProbabilities?, prefixes: [String]) {
        self.logProbabilities = logProbabilities
        self.prefixes = prefixes
        lengths = prefixes.map(\.count)
    }

    var wholeKind: String { "text_completion" }
    var pieceKind: String { "text_completion" }

    func choice(_ index: Int, _ answer: Answer) -> JSON {
        var logs = logProbabilities?.completion(answer.choices, from: prefixes[index].count)
        if let prompt = answer.prompt {
            logs = logs?.preceded(by: prompt.first, prompt.rest)
        }
        return choice(
            index, prefixes[index] + answer.text, logs?.json ?? .null,
            reason: .string(answer.result?.reason ?? "stop"))
    }

    func start(_ index: Int) -> JSON? {
        // With log probabilities it comes once these are known. Not `nil`, which can also be JSON's null.
        prefixes[index].isEmpty || logProbabilities != nil
            ? Optional.none : choice(index, prefixes[index])
    }

    func prompt(_ index: Int, first: Int32, rest: [Sampler.Choice]) -> JSON? {
        let logs = logProbabilities?.completion([], from: 0).preceded(by: first, rest)
        return choice(index, prefixes[index], logs?.json ?? .null)
    }

    mutating func pieces(_ index: Int, text: String, _ choices: [Sampler.Choice]) -> [JSON] {
        let logs = logProbabilities?.completion(choices, from: lengths[index]).json ?? .null
        lengths[index] += text.count
        return [choice(index, text, logs)]
    }

    func ends(_ index: Int, reason: String) -> [JSON] {
        [choice(index, "", reason: .string(reason))]
    }

    private func choice(
        _ index: Int, _ text: String, _ logProbabilities: JSON = .null, reason: JSON = .null
    ) -> JSON {
        [
            "index": .int(index), "text": .string(text), "logprobs": logProbabilities,
            "finish_reason": reason,
        ]
    }
}
