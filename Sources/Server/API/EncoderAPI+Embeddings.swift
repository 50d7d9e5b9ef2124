import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension EncoderAPI {
    /// `POST /v1/embeddings`: of each input the vector that sentence-transformers would make.
    func embeddings(_ request: Request, _ context: APIContext) async throws -> Response {
        let ticket = try api.admission.enter()
        defer { withExtendedLifetime(ticket) {} }
        let fields = try await api.fields(of: request)
        let embedding = try EmbeddingRequest(fields)
        let truncation = try Truncation(fields)
        let model = embedding.model.name ?? api.options.modelName
        let adapter = try await api.adapter(for: embedding.model, in: adapters, context)
        let rows = try await rows(
            embedding.inputs.map(EncoderInput.prompt), truncation: truncation,
            limit: batcher.encoder.maximumLength)
        let vectors = try await outputs(
            .vectors, of: rows, adapter: adapter, model: model, context)
        // Of thousands of inputs the answer is megabytes of text.
        return try await api.prepare {
            .json(embedding.answer(vectors, tokens: rows.tokenCount, model: model))
        }
    }
}
