import Hummingbird
import Logging
import NIOCore

/// What is known of a request beside what it says.
struct APIContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The connection that it came on.
    let channel: any Channel
    /// Its name in logs and in the response.
    var requestID: String
    /// Who asks; nil where everybody may.
    var key: APIKey?

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
        requestID = ""
    }

    /// - Throws: `APIError` where the key does not allow requests to the adapter.
    func requireAccess(to adapter: String) throws {
        guard key?.mayCall(adapter) ?? true else {
            throw APIError(
                .forbidden, "This API key does not allow the model \(adapter).",
                type: "permission_error", parameter: "model", code: "model_not_allowed")
        }
    }

    /// - Throws: `APIError` where the key does not allow to load and unload adapters.
    func requireLoading() throws {
        guard key?.mayLoad ?? true else {
            throw APIError(
                .forbidden, "This API key does not allow to load or unload adapters.",
                type: "permission_error", code: "loading_not_allowed")
        }
    }
}
