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
        ("{\"model_type\": \"llama\", \"attention_bias\": true}", "attention_bias"),
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
