/// A tensor of a GGUF, by both of its names.
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

    /// The name's meaning, if it is `blk.3.attn_q.weight` or another of the architecture's.
    init?(_ name: String, in architecture: GGUFArchitecture) {
        if let outer = Self.outer[name] {
            huggingFace = outer
            rowOrder = .asStored
            return
        }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "blk", let layer = Int(parts[1]), layer >= 0,
            "\(layer)" == parts[1], let path = architecture.path(parts[2]),
            parts[3] == "weight" || (parts[3] == "bias" && architecture.hasBias(parts[2]))
        else { return nil }
        huggingFace = "model.layers.\(layer).\(path).\(parts[3])"
        rowOrder =
            switch parts[2] {
            case "attn_q" where architecture.pairsRotatedRows: .queryHeads
            case "attn_k" where architecture.pairsRotatedRows: .keyValueHeads
            default: .asStored
            }
    }

    /// Whether a tensor belongs to the configuration: factors of rotary frequencies.
    static func isConfiguration(_ name: String) -> Bool {
        [
            GGUFConfiguration.ropeFactors, GGUFConfiguration.shortFactors,
            GGUFConfiguration.longFactors,
        ].contains(name)
    }

    private static let outer = [
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    ]
}
