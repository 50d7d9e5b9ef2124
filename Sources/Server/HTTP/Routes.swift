import Hummingbird
import LorikeetRuntime
import Synchronization

/// Passes requests on to a server's routes: to those of a model that is being loaded, then to the API's.
final class Routes: HTTPResponder {
    typealias Context = APIContext

    // Seconds: a small model takes one, a large one a minute.
    fileprivate static let loadingTime = 2

    private let current: Mutex<any HTTPResponder<APIContext>>

    /// Routes that say that the model is being loaded.
    init(whileLoading options: ServerOptions, metrics: ServerMetrics) {
        let router = Router(context: APIContext.self)
        router.add(middleware: RequestMiddleware(metrics: metrics))
        router.add(middleware: OriginMiddleware(origins: options.corsOrigins))
        router.get("livez") { _, _ in Response.json(["status": "ok"]) }
        for path in API.healthPaths {
            router.get(path) { _, _ in
                Response.unavailable("Loading model", retryAfter: Self.loadingTime)
            }
        }
        router.add(middleware: LoadingMiddleware())
        current = Mutex(router.buildResponder())
    }

    /// Answers with the API from now on.
    ///
    /// - Throws: as `API.router`.
    func open(_ api: API) throws {
        let responder = try api.router().buildResponder()
        current.withLock { $0 = responder }
    }

    func respond(to request: Request, context: APIContext) async throws -> Response {
        let responder = current.withLock { $0 }
        return try await responder.respond(to: request, context: context)
    }
}

/// Refuses what needs the model.
private struct LoadingMiddleware: RouterMiddleware {
    typealias Context = APIContext

    func handle(
        _ request: Request, context: APIContext,
        next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        throw EngineOverload(reason: .loading, retryAfter: Routes.loadingTime)
    }
}
