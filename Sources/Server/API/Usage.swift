import LorikeetRuntime

/// The tokens of a request, as clients count them.
struct Usage {
    /// Tokens of all prompts.
    private(set) var promptTokens = 0
    /// Tokens of all answers.
    private(set) var completionTokens = 0
    /// Tokens of the prompts that had not to be computed.
    private(set) var cachedTokens = 0

    /// Counts the results of `count` answers to each prompt: a prompt counts once.
    init(_ results: [EngineResult], answersPerPrompt count: Int) {
        for (index, result) in results.enumerated() {
            completionTokens += result.completionTokens
            guard index % count == 0 else { continue }
            promptTokens += result.promptTokens
            cachedTokens += result.cachedTokens
        }
    }

    /// OpenAI's `usage`.
    var json: JSON {
        [
            "prompt_tokens": .int(promptTokens), "completion_tokens": .int(completionTokens),
            "total_tokens": .int(promptTokens + completionTokens),
            "prompt_tokens_details": ["cached_tokens": .int(cachedTokens)],
        ]
    }
}

extension [EngineResult] {
    /// llama.cpp's `timings` of answers that were made at the same time.
    var timings: JSON {
        let prompt = reduce(0) { $0 + $1.promptTokens - $1.cachedTokens }
        let predicted = reduce(0) { $0 + $1.completionTokens }
        let promptSeconds = map(\.prefillSeconds).max() ?? 0
        let predictedSeconds = map(\.decodeSeconds).max() ?? 0
        // The first token of each comes out of its prompt's pass.
        let decoded = predicted - count
        return [
            "cache_n": .int(reduce(0) { $0 + $1.cachedTokens }),
            "prompt_n": .int(prompt), "prompt_ms": .double(promptSeconds * 1000),
            "prompt_per_token_ms": .rate(promptSeconds * 1000, prompt),
            "prompt_per_second": .rate(Double(prompt), promptSeconds),
            "predicted_n": .int(predicted), "predicted_ms": .double(predictedSeconds * 1000),
            "predicted_per_token_ms": .rate(predictedSeconds * 1000, decoded),
            "predicted_per_second": .rate(Double(decoded), predictedSeconds),
            "queue_ms": .double((map(\.queueSeconds).max() ?? 0) * 1000),
        ]
    }
}

extension JSON {
    fileprivate static func rate(_ amount: Double, _ count: Int) -> JSON {
        rate(amount, Double(count))
    }

    fileprivate static func rate(_ amount: Double, _ count: Double) -> JSON {
        .double(count > 0 ? amount / count : 0)
    }
}
