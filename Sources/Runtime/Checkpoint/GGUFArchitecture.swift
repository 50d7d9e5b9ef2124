/// An architecture as llama.cpp names it, and what its files hold.
///
/// Source: llama.cpp's converter, and what its loader fills in that the files do not say.
enum GGUFArchitecture: String, CaseIterable {
    /// Llama, and Mistral, whose window such files do not tell.
    case llama
    case qwen2
    case qwen3
    case gemma2
    case gemma3
    case phi3

    /// `architectures` and `model_type` in config.json.
    var huggingFace: (name: String, modelType: String) {
        switch self {
        case .llama: (Llama.name, Llama.modelType)
        case .qwen2: (Qwen2.name, Qwen2.modelType)
        case .qwen3: (Qwen3.name, Qwen3.modelType)
        case .gemma2: (Gemma2.name, Gemma2.modelType)
        case .gemma3: (Gemma3.name, Gemma3.modelType)
        case .phi3: (Phi3.name, Phi3.modelType)
        }
    }

    /// Whether rows of queries and keys that rotate together lie side by side.
    var pairsRotatedRows: Bool { self == .llama }

    /// Whether the norms' weights are stored with 1 added.
    var addsOneToNorms: Bool { self == .gemma2 || self == .gemma3 }

    /// Whether a head may rotate in part.
    var rotatesInPart: Bool { self == .phi3 }

    /// The path below a block of the part that llama.cpp calls so: `attn_q` is `self_attn.q_proj`.
    func path(_ part: Substring) -> String? { parts[String(part)] ?? Self.common[String(part)] }

    /// The part at this path below a block, the other way round.
    func part(at path: String) -> String? {
        let found = parts.first { $0.value == path } ?? Self.common.first { $0.value == path }
        return found.flatMap { self.path(Substring($0.key)) == path ? $0.key : nil }
    }

    /// Whether the part has a bias, too.
    func hasBias(_ part: Substring) -> Bool {
        self == .qwen2 && ["attn_q", "attn_k", "attn_v"].contains(part)
    }

    private static let common = [
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

    private var parts: [String: String] {
        let heads = ["attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"]
        let gemma = [
            "post_attention_norm": "post_attention_layernorm",
            "ffn_norm": "pre_feedforward_layernorm",
            "post_ffw_norm": "post_feedforward_layernorm",
        ]
        switch self {
        case .llama, .qwen2: return [:]
        case .qwen3: return heads
        case .gemma2: return gemma
        case .gemma3: return gemma.merging(heads) { $1 }
        case .phi3: return ["attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"]
        }
    }

    /// The fields of config.json that other architectures do not have.
    ///
    /// - Parameters:
    ///   - metadata: the file's.
    ///   - layerCount: blocks.
    ///   - headSize: the width of a head.
    ///   - headWidth: the hidden size divided by the heads.
    ///   - rope: the rotary embedding's parameters.
    /// - Returns: values by key.
    /// - Throws: `.malformed` for metadata that are no numbers.
    func fields(
        _ metadata: GGUFMetadata, layerCount: Int, headSize: Int, headWidth: Int,
        rope: JSON
    ) throws -> [String: JSON] {
        func window() throws -> JSON {
            let window = try metadata.count("attention.sliding_window", default: 0)
            return window == 0 ? .null : .int(window)
        }
        switch self {
        case .llama: return ["attention_bias": false, "mlp_bias": false, "pretraining_tp": 1]
        case .qwen2: return ["use_sliding_window": false]
        case .qwen3: return ["attention_bias": false, "use_sliding_window": false]
        case .phi3: return ["sliding_window": try window()]
        case .gemma2:
            return [
                "hidden_activation": "gelu_pytorch_tanh",
                // 27B's alone is another: its blocks are 46.
                "query_pre_attn_scalar": .int(layerCount == 46 ? headWidth : headSize),
                "attn_logit_softcapping": .double(
                    try metadata.number("attn_logit_softcapping", default: 50)),
                "final_logit_softcapping": .double(
                    try metadata.number("final_logit_softcapping", default: 30)),
                "sliding_window": try window(),
            ]
        case .gemma3:
            return [
                "hidden_activation": "gelu_pytorch_tanh",
                // Likewise, with 62 blocks.
                "query_pre_attn_scalar": .int(layerCount == 62 ? headWidth : headSize),
                "rope_parameters": [
                    "full_attention": rope,
                    "sliding_attention": [
                        "rope_theta": .double(
                            try metadata.number("rope.freq_base_swa", default: 10000)),
                        "rope_type": "default",
                    ],
                ],
                "sliding_window": try window(),
            ]
        }
    }
}
