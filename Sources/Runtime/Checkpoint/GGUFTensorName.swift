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

        /// The heads of a matrix in this order, whose elements lie otherwise than in the checkpoint; nil where
        /// none do.
        func headCount(in model: ModelConfiguration) -> Int? {
            switch self {
            case .asStored: nil
            case .queryHeads: model.headCount
            case .keyValueHeads: model.keyValueHeadCount
            }
        }

        /// The checkpoint's row that lies at `row` of the file, in heads of `headSize` rows.
        static func checkpointRow(at row: Int, headSize: Int) -> Int {
            let (i, j) = (row % headSize / 2, row % 2)
            return row / headSize * headSize + j * headSize / 2 + i
        }
    }

    /// The checkpoint's name: `model.layers.3.self_attn.q_proj.weight`.
    let huggingFace: String
    /// The file's name: `blk.3.attn_q.weight`.
    let gguf: String
    /// How the rows are ordered.
    let rowOrder: RowOrder

    /// The name's meaning, if it is `blk.3.attn_q.weight` or another of the architecture's.
    init?(_ name: String, in architecture: GGUFArchitecture) {
        gguf = name
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

    /// The same of a checkpoint's name.
    init?(huggingFace name: String, in architecture: GGUFArchitecture) {
        if let outer = Self.outer.first(where: { $0.value == name }) {
            self.init(outer.key, in: architecture)
            return
        }
        let parts = name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "model", parts[1] == "layers",
            let end = parts[3].lastIndex(of: "."),
            let part = architecture.part(at: String(parts[3][..<end]))
        else { return nil }
        self.init("blk.\(parts[2]).\(part)\(parts[3][end...])", in: architecture)
    }

    private static let outer = [
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    ]
}
