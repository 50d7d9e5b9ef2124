import Foundation
import HTTPTypes
import Hummingbird
import Logging
import LorikeetRuntime
import NIOHTTP1

/// Around every request: gives it a name, turns errors into OpenAI's shape, counts and logs it.
struct RequestMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let metrics: ServerMetrics

    func handle(
        _ request: Request, context: APIContext,
        next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock().now
        var context = context
        context.requestID = Self.name(of: request)
        // In place of the framework's own.
        context.logger[metadataKey: "hb.request.id"] = nil
        context.logger[metadataKey: "request_id"] = .string(context.requestID)
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as HTTPParserError {
            // The connection is not fit for an answer.
            throw error
        } catch {
            let answer = APIError(error)
            if answer.status == .internalServerError {
                context.logger.error("\(error)")
            }
            response = answer.response(from: request, context: context)
        }
        response.headers[.requestID] = context.requestID
        let route = context.endpointPath ?? "none"
        metrics.handled(route: route, status: response.status.code)
        let milliseconds = (ContinuousClock().now - start).seconds * 1000
        context.logger.info(
            "request",
            metadata: [
                "method": .string(request.method.rawValue), "route": .string(route),
                "status": .stringConvertible(response.status.code),
                "ms": .string(String(format: "%.1f", milliseconds)),
            ])
        return response
    }

    /// The name that the client gave, if it is fit for a log and a header; else a new one.
    private static func name(of request: Request) -> String {
        if let name = request.headers[.requestID], (1...128).contains(name.utf8.count),
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") })
        {
            return name
        }
        return UUID().uuidString.lowercased()
    }
}
