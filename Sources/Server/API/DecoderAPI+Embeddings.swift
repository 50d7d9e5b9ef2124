import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension DecoderAPI {
    /// `POST /v1/embeddings`: of each input the mean of its tokens' last hidden states, of length 1.
    func embeddings(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try api.admission.enter()
        defer { withExtendedLifetime(ticket) {} }
        let embedding = try EmbeddingRequest(await api.fields(of: request))
        let adapter = try await api.adapter(for: embedding.model, in: adapters, context)
        let prompts = try await api.prepare { [model] in
            embedding.inputs.map { $0.tokens(model.tokenizer) }
        }
        for prompt in prompts { try check(prompt, parameter: "input") }
        var vectors: [[Float]] = []
        for prompt in prompts {
            // One at a time: answers go on in between.
            vectors.append(
                try await engine.perform { pass in
                    let cache = pass.makeCache(capacity: prompt.count)
                    return try pass.meanHiddenState(
                        of: prompt, cache: cache, adapter: adapter?.terms.deltas)
                }.normalized)
        }
        return .json(
            embedding.answer(
                vectors, tokens: prompts.reduce(0) { $0 + $1.count },
                model: embedding.model.name ?? api.options.modelName))
    }
}

extension [Float] {
    /// Divided by the length; zeros stay zeros.
    fileprivate var normalized: [Float] {
        let length = reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        return length > 0 ? map { Float(Double($0) / length) } : self
    }
}
