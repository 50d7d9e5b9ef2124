/// Gemma 3's text model: Gemma 2's norms without caps, normalized heads, five local blocks to one that sees
/// everything, each kind with rotary frequencies of its own.
enum Gemma3: Architecture {
    static let name = "Gemma3ForCausalLM"
    static let modelType = "gemma3_text"

    static func configuration(_ fields: ConfigurationFields) throws -> ModelConfiguration {
        // Since transformers 5 the parameters of both kinds lie side by side.
        let both = fields.object("rope_parameters")
        let global = both?.object("full_attention"), local = both?.object("sliding_attention")
        var model = try ModelConfiguration(
            gemma: fields, rope: global, vocabularySize: 262_208, maximumPositions: 131_072,
            theta: 1e6)
        try model.requireWholeRotation(fields)
        model.localRopeTheta = try (local ?? fields).number(
            local == nil ? "rope_local_base_freq" : "rope_theta", default: 10000, in: 1...1e12)
        if let local, (local.json["rope_type"] ?? "default") != "default" {
            throw local.unsupported("rope_type", expected: "default")
        }
        model.normalizesHeads = true
        for cap in ["attn_logit_softcapping", "final_logit_softcapping"]
        where try fields.optionalNumber(cap, default: nil, in: 0...1e6) != nil {
            throw fields.unsupported(cap, expected: "null")
        }
        let pattern = try fields.count("sliding_window_pattern", default: 6, atMost: 1 << 14)
        try model.readWindow(fields, default: 4096) { ($0 + 1) % pattern != 0 }
        return model
    }
}
