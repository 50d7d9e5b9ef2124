import Hummingbird
import Logging
import LorikeetRuntime

extension API {
    /// `POST /v1/load_lora_adapter`.
    func loadAdapter(_ request: Request, _ context: APIContext) async throws -> Response {
        try context.requireLoading()
        let fields = try await fields(of: request)
        let (name, path) = (try fields.name("lora_name"), try fields.name("lora_path"))
        guard name != options.modelName else {
            throw APIError.invalid("lora_name", "lora_name: \(name) is the base.")
        }
        let replacing = try fields.bool("load_inplace") ?? false
        let start = ContinuousClock().now
        do {
            let info = try await adapters.load(name: name, path: path, replacing: replacing)
            let time = ContinuousClock().now - start
            metrics.loaded(in: time, succeeded: true)
            context.logger.info(
                "adapter loaded",
                metadata: [
                    "adapter": .string(name), "digest": .string(info.digest),
                    "seconds": .stringConvertible(time.seconds),
                ])
            return .json([
                "message": .string("Success: LoRA adapter '\(name)' added successfully."),
                "model": entry(info),
            ])
        } catch {
            metrics.loaded(in: ContinuousClock().now - start, succeeded: false)
            throw APIError.loading(error)
        }
    }

    /// `POST /v1/unload_lora_adapter`.
    func unloadAdapter(_ request: Request, _ context: APIContext) async throws -> Response {
        try context.requireLoading()
        let name = try await fields(of: request).name("lora_name")
        try await adapters.unload(name: name)
        context.logger.info("adapter unloaded", metadata: ["adapter": .string(name)])
        return .json([
            "message": .string("Success: LoRA adapter '\(name)' removed successfully.")
        ])
    }
}

extension RequestFields {
    /// A string that must be there and not empty.
    fileprivate func name(_ key: String) throws -> String {
        _ = try required(key)
        guard let name = try string(key), !name.isEmpty else {
            throw APIError.invalid(key, "\(key): expected a text that is not empty.")
        }
        return name
    }
}
