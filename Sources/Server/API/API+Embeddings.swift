import HTTPTypes
import Hummingbird

extension API {
    /// `POST /v1/embeddings`.
    func embeddings(_ request: Request, _ context: APIContext) async throws -> Response {
        throw APIError.unsupported("model", "The engine gives no hidden states: no embeddings.")
    }
}
