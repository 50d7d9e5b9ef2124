import Foundation
import LorikeetRuntime
import TestSupport
import Testing

private func parse(_ text: String) throws -> ModelConfiguration {
    try ModelConfiguration(JSON(parsing: text, source: "config.json"), source: "config.json")
}

/// A Llama's config.json with `fields` besides.
private func llama(_ fields: String) throws -> ModelConfiguration {
    try parse("{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\"\(fields)}")
}

@Suite struct `config.json` {
    @Test func `of transformers 5 is read`() throws {
        let plain = try ModelConfiguration(
            JSON(contentsOf: modelResource("tiny/llama_plain_mha/config.json").path), source: "x")
        #expect(
            plain
                == ModelConfiguration(
                    hiddenSize: 64, intermediateSize: 160, layerCount: 2, headCount: 4,
                    keyValueHeadCount: 4, headSize: 16, vocabularySize: 256, maximumPositions: 256,
                    normEpsilon: 1e-6, ropeTheta: 10000, ropeScaling: nil, tiesEmbeddings: false))
        let rope3 = try ModelConfiguration(
            JSON(contentsOf: modelResource("tiny/llama_rope3_gqa_tied/config.json").path),
            source: "x")
        #expect(rope3.keyValueHeadCount == 2)
        #expect(rope3.tiesEmbeddings)
        #expect(
            rope3.ropeScaling
                == .llama3(
                    factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4,
                    originalMaximumPositions: 32))
    }

    @Test func `leaves to transformers' defaults what it does not say`() throws {
        #expect(
            try llama("")
                == ModelConfiguration(
                    hiddenSize: 4096, intermediateSize: 11008, layerCount: 32, headCount: 32,
                    keyValueHeadCount: 32, headSize: 128, vocabularySize: 32000,
                    maximumPositions: 2048, normEpsilon: 1e-6, ropeTheta: 10000, ropeScaling: nil,
                    tiesEmbeddings: false))
        #expect(try llama(", \"num_key_value_heads\": null, \"head_dim\": null").headSize == 128)
    }

    @Test func `of transformers 4 is read`() throws {
        let old = try llama(
            """
            , "rope_theta": 500000.0, "rope_scaling": {"factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}
            """)
        #expect(old.ropeTheta == 500_000)
        #expect(
            old.ropeScaling
                == .llama3(
                    factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4,
                    originalMaximumPositions: 8192))
        let linear = try llama(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}")
        #expect(linear.ropeScaling == .linear(factor: 2))
        #expect(try llama(", \"rope_scaling\": null").ropeScaling == nil)
    }

    @Test(arguments: [
        ("{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\"}", "GPT2LMHeadModel"),
        ("{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"mamba\"}", "mamba"),
        ("{}", "neither"),
        ("{\"model_type\": \"llama\", \"mlp_bias\": true}", "mlp_bias"),
        ("{\"model_type\": \"llama\", \"hidden_act\": \"gelu\"}", "gelu"),
        ("{\"model_type\": \"llama\", \"rope_parameters\": {\"rope_type\": \"yarn\"}}", "yarn"),
        (
            "{\"model_type\": \"llama\", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}}",
            "partial_rotary_factor"
        ),
    ])
    func `of what is not supported is refused by name`(text: String, name: String) throws {
        let error = try failure { _ = try parse(text) }
        #expect(error?.code == .unsupported)
        #expect(error?.description.contains(name) == true)
    }

    @Test func `names the layers that have biases`() throws {
        #expect(try llama("").biasedModules.isEmpty)
        #expect(
            try llama(", \"attention_bias\": true").biasedModules == [
                .query, .key, .value, .output,
            ])
    }

    private func decoder(_ type: String, _ fields: String = "") throws -> ModelConfiguration {
        try ModelConfiguration(
            JSON(
                parsing: "{\"model_type\": \"\(type)\", \"num_hidden_layers\": 12\(fields)}",
                source: "config.json"), source: "config.json")
    }

    @Test func `says which blocks attend locally`() throws {
        let mistral = try decoder("mistral", ", \"sliding_window\": 16")
        #expect(mistral.slidingWindow == 16 && mistral.localLayers == Set(0..<12))
        #expect(try decoder("mistral", ", \"sliding_window\": null").localLayers.isEmpty)
        #expect(try decoder("mistral").slidingWindow == 4096)
        let qwen = ", \"sliding_window\": 16, \"max_window_layers\": 9"
        #expect(try decoder("qwen2", qwen).localLayers.isEmpty)
        #expect(
            try decoder("qwen2", qwen + ", \"use_sliding_window\": true").localLayers == [
                9, 10, 11,
            ])
        #expect(try decoder("gemma2").localLayers == [0, 2, 4, 6, 8, 10])
        #expect(try decoder("gemma3_text").localLayers == Set(0..<12).subtracting([5, 11]))
        #expect(
            try decoder("gemma3_text", ", \"sliding_window_pattern\": 4").localLayers
                == Set(0..<12).subtracting([3, 7, 11]))
        #expect(try decoder("phi3").localLayers.isEmpty)
    }

    @Test func `of Gemma has its scales, caps and frequencies, old and new`() throws {
        let two = try decoder("gemma2", ", \"query_pre_attn_scalar\": 144, \"dtype\": \"bfloat16\"")
        #expect(two.attentionScale == 1 / 12 && two.attentionCap == 50 && two.logitCap == 30)
        // √2304 = 48 is exact; √3072 = 55.43 is 55.5 in bf16, as transformers multiplies.
        #expect(two.embeddingScale == 48)
        let wide = ", \"hidden_size\": 3072"
        #expect(
            try decoder("gemma2", wide + ", \"torch_dtype\": \"bfloat16\"").embeddingScale == 55.5)
        #expect(
            try decoder("gemma2", wide + ", \"torch_dtype\": \"float16\"").embeddingScale == 55.4375
        )
        #expect(try decoder("gemma2", wide).embeddingScale == Float(3072).squareRoot())
        let old = try decoder(
            "gemma3_text",
            """
            , "rope_theta": 500000, "rope_local_base_freq": 20000,
            "rope_scaling": {"rope_type": "linear", "factor": 8}
            """)
        let new = try decoder(
            "gemma3_text",
            """
            , "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8,
            "rope_theta": 500000}, "sliding_attention": {"rope_theta": 20000}}
            """)
        #expect(old == new)
        #expect(old.ropeTheta == 500_000 && old.localRopeTheta == 20000)
        #expect(old.ropeScaling == .linear(factor: 8))
        #expect(try decoder("gemma3_text").ropeTheta == 1e6)
    }

    @Test func `of LongRoPE ends texts at the original length`() throws {
        let factors = (0..<48).map { "\(1 + $0)" }.joined(separator: ", ")
        let phi = try decoder(
            "phi3",
            """
            , "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            "rope_scaling": {"type": "longrope", "short_factor": [\(factors)], "long_factor": []}
            """)
        #expect(phi.maximumPositions == 4096 && phi.fusesProjections)
        guard case .factors(let short, let factor) = phi.ropeScaling else {
            Issue.record("\(String(describing: phi.ropeScaling))")
            return
        }
        #expect(short == (1...48).map(Double.init))
        // √(1 + ln 32 / ln 4096) = √(17 / 12)
        #expect(abs(factor - (17.0 / 12).squareRoot()) < 1e-12)
    }

    @Test(arguments: [
        ("phi3", "\"rope_scaling\": {\"type\": \"yarn\"}", "yarn"),
        ("gemma3_text", "\"attn_logit_softcapping\": 50", "attn_logit_softcapping"),
        ("gemma2", "\"use_bidirectional_attention\": true", "use_bidirectional_attention"),
        ("gemma2", "\"hidden_activation\": \"relu\"", "relu"),
        ("gemma3", "\"text_config\": {}", "gemma3"),
        ("qwen3_moe", "\"num_experts\": 8", "qwen3_moe"),
        (
            "mistral",
            "\"layer_types\": [\(Array(repeating: "\"linear\"", count: 12).joined(separator: ","))]",
            "layer_types"
        ),
    ])
    func `of what an architecture may not have is refused by name`(
        type: String, field: String, name: String
    ) throws {
        let error = try failure { _ = try decoder(type, ", " + field) }
        #expect(error?.code == .unsupported)
        #expect(error?.description.contains(name) == true)
    }

    @Test(arguments: [
        ("mistral", "\"sliding_window\": 0"), ("mistral", "\"layer_types\": [\"full_attention\"]"),
        ("gemma2", "\"query_pre_attn_scalar\": 0"), ("gemma2", "\"final_logit_softcapping\": -1"),
        ("gemma3_text", "\"sliding_window_pattern\": 0"),
        ("phi3", "\"partial_rotary_factor\": 0"), ("phi3", "\"partial_rotary_factor\": 1.5"),
        ("phi3", "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 2]}"),
        ("qwen2", "\"use_sliding_window\": true, \"max_window_layers\": -1"),
    ])
    func `with a number out of an architecture's bounds is refused`(
        type: String, field: String
    ) throws {
        let error = try failure { _ = try decoder(type, ", " + field) }
        #expect(error?.code == .malformed)
    }

    @Test(arguments: [
        "\"hidden_size\": 0", "\"hidden_size\": -64", "\"hidden_size\": 64.5",
        "\"hidden_size\": \"64\"", "\"hidden_size\": 4611686018427387904", "\"hidden_size\": 100",
        "\"num_attention_heads\": 0", "\"num_key_value_heads\": 5", "\"head_dim\": 7",
        "\"num_hidden_layers\": 1e30", "\"vocab_size\": 99999999999", "\"rms_norm_eps\": -1",
        "\"rope_theta\": 0", "\"rope_theta\": \"big\"", "\"tie_word_embeddings\": 1",
        "\"max_position_embeddings\": 0", "\"rope_scaling\": {\"type\": \"linear\"}",
        "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}",
        """
        "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}
        """,
    ])
    func `with a number out of bounds is refused by its key`(field: String) throws {
        let error = try failure { _ = try llama(", " + field) }
        #expect(error?.code == .malformed)
        #expect(error?.problem.contains("out of range") == true)
    }
}
