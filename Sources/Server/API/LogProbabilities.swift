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

    /// The form of completions: four lists, and the chosen token among the likeliest.
    ///
    /// - start: where the first token's text begins in the whole, in characters.
    func completion(_ choices: [Sampler.Choice], from start: Int) -> JSON {
        var offset = start
        var offsets: [JSON] = []
        var tokens: [JSON] = []
        var logs: [JSON] = []
        var tops: [JSON] = []
        for choice in choices {
            let text = tokenizer.decode([choice.token])
            offsets.append(.int(offset))
            offset += text.count
            tokens.append(.string(text))
            logs.append(number(choice.logProbability))
            var top = JSON.Object()
            top[text] = number(choice.logProbability)
            for other in choice.top {
                top[tokenizer.decode([other.token])] = number(other.logProbability)
            }
            tops.append(.object(top))
        }
        return [
            "tokens": .array(tokens), "token_logprobs": .array(logs), "top_logprobs": .array(tops),
            "text_offset": .array(offsets),
        ]
    }

    private func entry(_ token: Int32, _ logProbability: Float) -> JSON {
        let text = tokenizer.decode([token])
        let bytes = tokenizer.textBytes(of: token)
        return [
            "token": .string(text), "logprob": number(logProbability),
            "bytes": .array(bytes.map { .int(Int($0)) }),
        ]
    }

    // OpenAI's number for what cannot happen: JSON has no infinity.
    private func number(_ logProbability: Float) -> JSON {
        .double(max(-9999, Double(logProbability)))
    }
}
