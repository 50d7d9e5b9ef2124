import LorikeetRuntime

/// Writes log probabilities of tokens in OpenAI's two forms.
struct LogProbabilities {
    /// What spells the tokens.
    let tokenizer: Tokenizer

    /// The form of chat: `{"content": [{token, logprob, bytes, top_logprobs}]}`.
    func chat(_ choices: [Sampler.Choice]) -> JSON {
        let content = choices.map { choice in
            var entry = entry(choice.token, choice.logProbability)
            entry["top_logprobs"] = .array(
                choice.top.map { self.entry($0.token, $0.logProbability) })
            return entry
        }
        return ["content": .array(content), "refusal": nil]
    }

    /// The form of completions: four lists.
    ///
    /// - start: where the first token's text begins in the whole, in characters.
    func completion(_ choices: [Sampler.Choice], from start: Int) -> CompletionLogProbabilities {
        CompletionLogProbabilities(choices, from: start, tokenizer: tokenizer)
    }

    private func entry(_ token: Int32, _ logProbability: Float) -> JSON {
        let text = tokenizer.decode([token])
        let bytes = tokenizer.textBytes(of: token)
        return [
            "token": .string(text), "logprob": .logProbability(logProbability),
            "bytes": .array(bytes.map { .int(Int($0)) }),
        ]
    }
}

/// Log probabilities of a completion's tokens: four lists of equal length, and each token among its likeliest.
struct CompletionLogProbabilities {
    private let tokenizer: Tokenizer
    private var tokens: [JSON] = []
    private var logs: [JSON] = []
    private var tops: [JSON] = []
    private var offsets: [JSON] = []
    private var offset: Int

    fileprivate init(_ choices: [Sampler.Choice], from start: Int, tokenizer: Tokenizer) {
        self.tokenizer = tokenizer
        offset = start
        for choice in choices { append(choice) }
    }

    /// The same behind the tokens of a prompt, the first of which nothing precedes.
    func preceded(by first: Int32, _ rest: [Sampler.Choice]) -> Self {
        var whole = Self([], from: 0, tokenizer: tokenizer)
        whole.append(first, .null, .null)
        for choice in rest { whole.append(choice) }
        whole.tokens += tokens
        whole.logs += logs
        whole.tops += tops
        whole.offsets += offsets
        return whole
    }

    /// OpenAI's object.
    var json: JSON {
        [
            "tokens": .array(tokens), "token_logprobs": .array(logs), "top_logprobs": .array(tops),
            "text_offset": .array(offsets),
        ]
    }

    private mutating func append(_ choice: Sampler.Choice) {
        var top: [(text: String, log: Float)] = [
            (tokenizer.decode([choice.token]), choice.logProbability)
        ]
        for other in choice.top {
            let text = tokenizer.decode([other.token])
            // Of tokens with one text, such as parts of characters, the likeliest counts.
            guard let index = top.firstIndex(where: { $0.text == text }) else {
                top.append((text, other.logProbability))
                continue
            }
            top[index].log = max(top[index].log, other.logProbability)
        }
        var members = JSON.Object()
        for (text, log) in top { members[text] = .logProbability(log) }
        append(
            choice.token, .logProbability(choice.logProbability),
            .object(members))
    }

    private mutating func append(_ token: Int32, _ log: JSON, _ top: JSON) {
        let text = tokenizer.decode([token])
        tokens.append(.string(text))
        logs.append(log)
        tops.append(top)
        offsets.append(.int(offset))
        offset += text.count
    }
}

extension JSON {
    /// OpenAI's number for what cannot happen: JSON has no infinity.
    fileprivate static func logProbability(_ value: Float) -> JSON {
        .double(max(-9999, Double(value)))
    }
}
