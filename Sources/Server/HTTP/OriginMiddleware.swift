import HTTPTypes
import Hummingbird

/// CORS: tells browsers which other origins' pages may read answers.
///
/// Credentials are never allowed: a key is sent by the page itself.
struct OriginMiddleware: RouterMiddleware {
    typealias Context = APIContext

    /// The origins; `*` for all.
    let origins: [String]

    func handle(
        _ request: Request, context: APIContext,
        next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        guard let origin = request.headers[.origin],
            origins.contains("*") || origins.contains(origin)
        else { return try await next(request, context) }
        var response =
            request.method == .options
            ? Response(status: .noContent) : try await next(request, context)
        response.headers[.accessControlAllowOrigin] = origins.contains("*") ? "*" : origin
        response.headers[.vary] = "Origin"
        response.headers[.accessControlExposeHeaders] = "x-request-id, retry-after"
        if request.method == .options {
            response.headers[.accessControlAllowMethods] = "GET, POST, OPTIONS"
            response.headers[.accessControlAllowHeaders] =
                request.headers[.accessControlRequestHeaders] ?? "authorization, content-type"
            response.headers[.accessControlMaxAge] = "600"
        }
        return response
    }
}
