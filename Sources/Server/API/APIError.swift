import HTTPTypes
import Hummingbird
import LorikeetRuntime

/// What a client is told when a request fails: an HTTP status and OpenAI's error object.
struct APIError: Error, Equatable {
    /// The response's status; OpenAI's clients turn each into an exception of its own.
    var status: HTTPResponse.Status
    /// OpenAI's name for the kind of error.
    var type: String
    /// What is wrong, and what to do about it.
    var message: String
    /// The request's field concerned.
    var parameter: String?
    /// A word for programs.
    var code: String?
    /// Seconds after which a further attempt has a chance.
    var retryAfter: Int?

    /// An error about a request.
    init(
        _ status: HTTPResponse.Status, _ message: String, type: String = "invalid_request_error",
        parameter: String? = nil, code: String? = nil, retryAfter: Int? = nil
    ) {
        self.status = status
        self.type = type
        self.message = message
        self.parameter = parameter
        self.code = code
        self.retryAfter = retryAfter
    }

    /// A field with a value that it cannot have.
    static func invalid(_ parameter: String, _ message: String) -> APIError {
        APIError(.badRequest, message, parameter: parameter, code: "invalid_value")
    }

    /// A field of another type than it must have.
    static func type(_ parameter: String, expected: String, got: JSON) -> APIError {
        APIError(
            .badRequest, "\(parameter): expected \(expected), got \(got.kind).",
            parameter: parameter, code: "invalid_type")
    }

    /// A field that asks for something the server does not do.
    static func unsupported(_ parameter: String, _ message: String) -> APIError {
        APIError(.badRequest, message, parameter: parameter, code: "unsupported")
    }

    /// An answer that took too long.
    static let lateAnswer = APIError(
        .gatewayTimeout, "The answer took longer than the server allows.", type: "timeout_error",
        code: "timeout")

    /// OpenAI's `{"error": {...}}`.
    var json: JSON {
        [
            "error": [
                "message": .string(message), "type": .string(type),
                "param": parameter.map(JSON.string) ?? .null,
                "code": code.map(JSON.string) ?? .null,
            ]
        ]
    }
}

extension APIError: HTTPResponseError {
    /// The JSON object, with what tells a client when to try again.
    func response(from request: Request, context: some RequestContext) -> Response {
        var response = Response.json(json, status: status)
        if let retryAfter { response.headers[.retryAfter] = String(retryAfter) }
        // What took too long once does so again: openai-python would repeat it.
        if status == .gatewayTimeout { response.headers[.shouldRetry] = "false" }
        if status == .unauthorized { response.headers[.wwwAuthenticate] = "Bearer" }
        return response
    }
}

extension HTTPField.Name {
    /// `x-request-id`.
    static let requestID = known("x-request-id")
    /// `x-api-key`.
    static let apiKey = known("x-api-key")
    /// `x-should-retry`, which openai-python obeys.
    static let shouldRetry = known("x-should-retry")

    private static func known(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("the header \(name)") }
        return name
    }
}

extension JSON {
    /// What kind of value this is, in words.
    var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int(let value): "the integer \(value)"
        case .double(let value): "the number \(value)"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}
