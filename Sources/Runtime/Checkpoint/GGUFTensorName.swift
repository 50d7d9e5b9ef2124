/// A tensor of a llama-architecture GGUF, by both of its names.
struct GGUFTensorName {
    /// How the file orders the rows of a matrix.
    enum RowOrder {
        /// As the checkpoint does.
        case asStored
        /// Rotary pairs side by side, in each query head.
        case queryHeads
        /// Rotary pairs side by side, in each key head.
        case keyValueHeads
    }

    /// The checkpoint's name: `model.layers.3.self_attn.q_proj.weight`.
    let huggingFace: String
    /// How the rows are ordered.
    let rowOrder: RowOrder

    /// The name's meaning, if it is `blk.3.attn_q.weight` or another of a Llama's.
    init?(_ name: String) {
        if let outer = Self.outer[name] {
            huggingFace = outer
            rowOrder = .asStored
            return
        }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "blk", let layer = Int(parts[1]), layer >= 0,
            "\(layer)" == parts[1], parts[3] == "weight", let path = Self.block[String(parts[2])]
        else { return nil }
        huggingFace = "model.layers.\(layer).\(path).weight"
        rowOrder =
            switch parts[2] {
            case "attn_q": .queryHeads
            case "attn_k": .keyValueHeads
            default: .asStored
            }
    }

    /// Whether a tensor belongs to the configuration: the factors of Llama 3's rotary frequencies.
    static func isConfiguration(_ name: String) -> Bool { name == GGUFConfiguration.ropeFactors }

    private static let outer = [
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    ]

    private static let block = [
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    ]
}
