import Foundation
import HTTPTypes
import Hummingbird
import LorikeetRuntime

extension API {
    /// `GET /v1/models`: the base, and the adapters that the key allows.
    func models(_ request: Request, _ context: APIContext) -> Response {
        let models = [base] + adapters.list.map(entry)
        let allowed = models.filter { context.key?.mayCall($0["id"]?.string ?? "") ?? true }
        return .json(["object": "list", "data": .array(allowed)])
    }

    /// `GET /v1/models/{id}`.
    func model(_ request: Request, _ context: APIContext) async throws -> Response {
        let name = try context.parameters.require("id").removingPercentEncoding ?? ""
        try context.requireAccess(to: name)
        if name == options.modelName { return .json(base) }
        guard let info = adapters.list.first(where: { $0.name == name }) else {
            let names = ([options.modelName] + adapters.list.map(\.name)).joined(separator: ", ")
            throw APIError(
                .notFound, "There is no model \(name). There are \(names).", parameter: "model",
                code: "model_not_found")
        }
        return .json(entry(info))
    }

    private var base: JSON {
        [
            "id": .string(options.modelName), "object": "model", "created": .int(started),
            "owned_by": "lorikeet", "root": .string(options.modelName), "parent": nil,
            "max_model_len": .int(runner.contextLength), "digest": .string(baseDigest),
        ]
    }

    /// An adapter as a model whose parent is the base.
    func entry(_ info: ServedAdapterInfo) -> JSON {
        var entry: JSON = [
            "id": .string(info.name), "object": "model", "created": .int(info.created),
            "owned_by": "lorikeet", "root": .string(info.name),
            "parent": .string(options.modelName), "max_model_len": .int(runner.contextLength),
            "digest": .string(info.digest),
        ]
        for (key, value) in info.details { entry[key] = value }
        return entry
    }
}
