import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// Where a server tells whether it takes requests.
    static let healthPaths: [RouterPath] = ["health", "v1/health", "readyz"]

    /// `GET /health`, `/v1/health`, `/readyz`: whether requests are taken.
    func health(_ request: Request, _ context: APIContext) -> Response {
        admission.isDraining
            ? .unavailable("Shutting down", retryAfter: 5) : .json(["status": "ok"])
    }

    /// `GET /livez`: whether the process answers.
    func alive(_ request: Request, _ context: APIContext) -> Response {
        .json(["status": "ok"])
    }

    /// `GET /metrics`.
    func metrics(_ request: Request, _ context: APIContext) -> Response {
        let names = adapters.list.map { ($0.digest, $0.name) }
        let text = metrics.text(
            runner.statistics, adapterNames: Dictionary(names) { first, _ in first },
            evictions: adapters.evictions)
        return .text(text, type: "text/plain; version=0.0.4; charset=utf-8")
    }
}

extension Response {
    /// llama-server's answer of a server that takes no requests now.
    static func unavailable(_ message: String, retryAfter: Int) -> Response {
        var response = Response.json(
            [
                "error": [
                    "code": 503, "message": .string(message), "type": "unavailable_error",
                ]
            ], status: .serviceUnavailable)
        response.headers[.retryAfter] = String(retryAfter)
        return response
    }
}
