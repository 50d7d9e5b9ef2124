import OrderedCollections

/// What a file says of an architecture, and what it leaves to who reads it.
///
/// Source: llama.cpp's converter and loader.
extension GGUFArchitecture {
    /// The keys that other architectures do not have.
    func metadata(of model: ModelConfiguration) -> OrderedDictionary<String, GGUFValue> {
        var values: OrderedDictionary<String, GGUFValue> = [:]
        switch self {
        case .llama, .qwen2, .qwen3: break
        case .gemma2:
            values["attn_logit_softcapping"] = model.attentionCap.map { .float32($0) }
            values["final_logit_softcapping"] = model.logitCap.map { .float32($0) }
        case .gemma3:
            values["rope.freq_base_swa"] = model.localRopeTheta.map { .float32(Float($0)) }
        case .phi3:
            if case .factors(_, let attentionFactor) = model.ropeScaling {
                values["rope.scaling.original_context_length"] = .uint32(model.maximumPositions)
                values["rope.scaling.attn_factor"] = .float32(Float(attentionFactor))
            }
        }
        if self != .llama {
            values["attention.sliding_window"] = model.slidingWindow.map { .uint32($0) }
        }
        return values
    }

    /// The longest text: with LongRoPE the one that the factors of long texts are for.
    ///
    /// A file of Llama's cannot tell a window, as Mistral has one: texts end with it.
    func contextLength(_ model: ModelConfiguration, _ configuration: JSON) -> Int {
        if case .factors = model.ropeScaling {
            return configuration["max_position_embeddings"]?.int ?? model.maximumPositions
        }
        guard self == .llama, let window = model.slidingWindow else {
            return model.maximumPositions
        }
        return min(model.maximumPositions, window)
    }

    /// Checks that what a file cannot say is in `model` as llama.cpp fills it in.
    ///
    /// - Throws: `.unsupported`, naming what is otherwise.
    func requireImplied(by model: ModelConfiguration, path: String) throws {
        func require(_ isImplied: Bool, _ field: String, _ got: String) throws {
            guard !isImplied else { return }
            throw LorikeetError(
                .unsupported, path, "\(field) of this model has no place in a GGUF file of \(self)",
                got: got)
        }
        let layers = Set(0..<model.layerCount)
        let local: Set<Int> =
            switch self {
            case .llama: model.localLayers
            case .qwen2, .qwen3: []
            case .gemma2: layers.filter { ($0 + 1) % 2 != 0 }
            case .gemma3: layers.filter { ($0 + 1) % 6 != 0 }
            case .phi3: model.slidingWindow == nil ? [] : layers
            }
        try require(
            model.localLayers == local, "layer_types",
            "local attention in the blocks \(model.localLayers.sorted())")
        let isLargest =
            self == .gemma2 && model.layerCount == 46 || self == .gemma3 && model.layerCount == 62
        let width = isLargest ? model.hiddenSize / model.headCount : model.headSize
        try require(
            abs(model.attentionScale * Float(width).squareRoot() - 1) < 1e-5,
            "query_pre_attn_scalar", "\(1 / (model.attentionScale * model.attentionScale))")
        guard self == .gemma2 else { return }
        try require(model.attentionCap != nil, "attn_logit_softcapping", "null")
        try require(model.logitCap != nil, "final_logit_softcapping", "null")
    }
}
