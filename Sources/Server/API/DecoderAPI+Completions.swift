import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension DecoderAPI {
    /// `POST /v1/completions`.
    func completions(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try api.admission.enter()
        let completion = try CompletionRequest(
            await api.fields(of: request), defaults: samplingDefaults, countLimit: answerLimit)
        let parameters = completion.parameters
        let answers = completion.prompts.count * parameters.count
        guard answers <= answerLimit else {
            throw APIError.invalid(
                "n",
                "n: \(completion.prompts.count) prompts of \(parameters.count) answers are more than \(answerLimit)."
            )
        }
        let adapter = try await api.adapter(for: completion.model, in: adapters, context)
        let (prompts, echoed) = try await api.prepare { [model] in
            let prompts = completion.prompts.map { $0.tokens(model.tokenizer) }
            let texts = completion.prompts.map {
                completion.echoes ? $0.text(model.tokenizer) : ""
            }
            return (prompts, texts)
        }
        for prompt in prompts { try check(prompt, parameter: "prompt") }
        let format = TextFormat(
            logProbabilities: completion.reportsLogProbabilities
                ? LogProbabilities(tokenizer: model.tokenizer) : nil,
            prefixes: echoed.flatMap { Array(repeating: $0, count: parameters.count) })
        return try await answer(
            Work(
                requests: prompts.flatMap {
                    parameters.requests(prompt: $0, adapter: adapter?.terms)
                },
                answersPerPrompt: parameters.count, streams: parameters.streams,
                includesUsage: parameters.includesUsage, adapter: adapter,
                identity: identity("cmpl", completion.model, adapter), format: format),
            holding: ticket, context)
    }
}
