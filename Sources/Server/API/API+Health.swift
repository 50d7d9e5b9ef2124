import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// `GET /health`, `/v1/health`, `/readyz`: whether requests are taken.
    func health(_ request: Request, _ context: APIContext) -> Response {
        guard !admission.isDraining else {
            return .json(
                [
                    "error": [
                        "code": 503, "message": "Shutting down", "type": "unavailable_error",
                    ]
                ], status: .serviceUnavailable)
        }
        return .json(["status": "ok"])
    }

    /// `GET /livez`: whether the process answers.
    func alive(_ request: Request, _ context: APIContext) -> Response {
        .json(["status": "ok"])
    }

    /// `GET /metrics`.
    func metrics(_ request: Request, _ context: APIContext) -> Response {
        let names = adapters.list.map { ($0.digest, $0.name) }
        let text = metrics.text(
            engine.statistics, adapterNames: Dictionary(names) { first, _ in first },
            evictions: adapters.evictions)
        return .text(text, type: "text/plain; version=0.0.4; charset=utf-8")
    }
}
