import HTTPTypes
import Hummingbird
import LorikeetRuntime
import NIOCore

extension APIError {
    /// What a client is told of `error`: the one place where errors become statuses.
    init(_ error: any Error) {
        switch error {
        case let error as APIError: self = error
        case let error as LorikeetError: self.init(error)
        case let error as EngineOverload: self.init(error)
        case is NIOTooManyBytesError:
            self.init(
                .contentTooLarge, "The request's body is longer than the server takes.",
                code: "request_too_large")
        case let error as HTTPError where error.status == .notFound:
            self.init(.notFound, "There is no such route.", code: "not_found")
        case let error as HTTPError:
            self.init(error.status, error.body ?? error.status.reasonPhrase)
        default:
            self.init(.internalServerError, "The server failed.", type: "server_error")
        }
    }

    private init(_ error: LorikeetError) {
        switch error.code {
        case .notFound: self.init(.notFound, error.description, code: "not_found")
        case .mismatch: self.init(.unprocessableContent, error.description, code: "mismatch")
        case .malformed, .invalidArgument, .exists:
            self.init(.badRequest, error.description, code: "invalid_value")
        case .unsupported: self.init(.badRequest, error.description, code: "unsupported")
        case .io: self.init(.internalServerError, error.description, type: "server_error")
        }
    }

    private init(_ overload: EngineOverload) {
        switch overload.reason {
        case .full:
            self.init(
                .tooManyRequests, "As many requests wait as the server takes.",
                type: "rate_limit_error", code: "queue_full", retryAfter: overload.retryAfter)
        case .loading:
            self.init(
                .serviceUnavailable, "The model is being loaded.", type: "unavailable_error",
                code: "loading", retryAfter: overload.retryAfter)
        case .stopping:
            self.init(
                .serviceUnavailable, "The server is shutting down.", type: "unavailable_error",
                code: "shutting_down", retryAfter: overload.retryAfter)
        }
    }

    /// What a client is told whose adapter could not be loaded: 422 for one that is not right, which no
    /// client repeats.
    static func loading(_ error: any Error) -> APIError {
        guard let error = error as? LorikeetError else { return APIError(error) }
        var answer = APIError(error)
        if [.malformed, .unsupported, .mismatch].contains(error.code) {
            answer.status = .unprocessableContent
        }
        return answer
    }
}
