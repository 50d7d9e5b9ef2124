import HTTPTypes
import Hummingbird
import Logging

/// Lets in who has a key, and, where no key is asked for, no page of another origin.
///
/// A browser sends a page's simple requests wherever the page wants, this machine included; without keys
/// only their `Origin` tells them from the owner's.
struct AccessMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let keys: APIKeys?
    let origins: [String]

    func handle(
        _ request: Request, context: APIContext,
        next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        guard let keys else {
            try refuseStrangers(request)
            return try await next(request, context)
        }
        guard let presented = Self.key(of: request), let key = keys.find(presented) else {
            throw APIError(
                .unauthorized, "This server needs an API key: Authorization: Bearer KEY.",
                code: "invalid_api_key")
        }
        var context = context
        context.key = key
        context.logger[metadataKey: "key"] = .string(key.name)
        return try await next(request, context)
    }

    private static func key(of request: Request) -> String? {
        if let value = request.headers[.authorization] {
            let words = value.split(separator: " ", maxSplits: 1)
            guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
            return String(words[1])
        }
        return request.headers[.apiKey]
    }

    private func refuseStrangers(_ request: Request) throws {
        guard request.method != .get, let origin = request.headers[.origin],
            !origins.contains("*"), !origins.contains(origin)
        else { return }
        let host = origin.split(separator: "/", omittingEmptySubsequences: false).last
        guard let host, let own = request.head.authority, host == own else {
            throw APIError(
                .forbidden, "Pages of \(origin) may not use this server.",
                type: "permission_error", code: "origin_not_allowed")
        }
    }
}
