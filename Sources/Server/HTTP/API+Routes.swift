import Hummingbird

extension API {
    /// Every route: those that are open to all first, then those that need a key where keys are asked for.
    ///
    /// - Throws: `LorikeetError` for a decoder's generation_config.json that cannot be read.
    func router() throws -> Router<APIContext> {
        let router = Router(context: APIContext.self)
        router.add(middleware: RequestMiddleware(metrics: metrics))
        router.add(middleware: OriginMiddleware(origins: options.corsOrigins))
        for path in Self.healthPaths { router.get(path, use: health) }
        router.get("livez", use: alive)
        // A browser cannot show a key when it opens a page; the page asks its user for it.
        router.get("/") { [page] _, _ in page.response }

        router.add(
            middleware: AccessMiddleware(keys: options.keys, origins: options.corsOrigins))
        switch served.model {
        case .decoder(let engine, let adapters):
            try DecoderAPI(self, engine, adapters).add(to: router)
        case .encoder(let batcher, let adapters):
            EncoderAPI(self, batcher, adapters).add(to: router)
        }
        router.get("v1/models", use: models)
        router.get("v1/models/:id", use: model)
        router.post("v1/load_lora_adapter", use: loadAdapter)
        router.post("v1/unload_lora_adapter", use: unloadAdapter)
        router.post("tokenize", use: tokenize)
        router.post("detokenize", use: detokenize)
        router.post("apply-template", use: applyTemplate)
        router.get("metrics", use: metrics)
        return router
    }
}

extension Router<APIContext> {
    /// Says at `path` why the model has no such route.
    func refuse(_ path: RouterPath, _ why: String) {
        post(path) { _, _ -> Response in throw APIError.unsupported("model", why) }
    }
}
