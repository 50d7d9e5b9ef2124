import Foundation
import LorikeetQuant
import LorikeetRuntime
import QuantKernels
import TestSupport
import Testing

/// One layer of a tiny model as llama.cpp's converter stores it, beside the model it was made from.
private func models() throws -> (gguf: any Checkpoint, folder: any Checkpoint) {
    (
        try Checkpoints.open(modelResource("checkpoints/llama_rope3_1layer.gguf").path),
        try Checkpoints.open(modelResource("tiny/llama_rope3_gqa_tied").path)
    )
}

private func floats(_ name: String, of checkpoint: any Checkpoint) throws -> [Float] {
    let buffer = Buffer<Float>(try checkpoint.shape(of: name).reduce(1, *))
    try checkpoint.floats(name, into: buffer.pointer)
    return buffer.array
}

@Suite struct `A GGUF checkpoint` {
    // Relative to the largest weight of the row's block of 32: F16 keeps 11 bits, BF16 8, Q8_0 has 127
    // steps and rounds its scale to 11 bits. A row in the wrong place would be wrong in the first digit.
    private static let f16: Float = 0x1p-11
    private static let bf16: Float = 0x1p-8
    private static let q8: Float = 0.5 / 127 + 0x1p-11

    @Test(arguments: [
        ("layers.0.self_attn.q_proj", f16), ("layers.0.self_attn.k_proj", q8),
        ("layers.0.self_attn.v_proj", f16), ("layers.0.self_attn.o_proj", 0),
        ("layers.0.mlp.gate_proj", q8), ("layers.0.mlp.up_proj", q8),
        ("layers.0.mlp.down_proj", q8),
        ("layers.0.input_layernorm", 0), ("layers.0.post_attention_layernorm", 0),
        ("embed_tokens", bf16), ("norm", 0),
    ])
    func `gives the tensors it was converted from`(module: String, tolerance: Float) throws {
        let name = "model.\(module).weight"
        let (gguf, folder) = try models()
        #expect(try gguf.shape(of: name) == folder.shape(of: name))
        let actual = try floats(name, of: gguf)
        let expected = try floats(name, of: folder)
        for begin in stride(from: 0, to: expected.count, by: 32) {
            let block = begin..<min(begin + 32, expected.count)
            let largest = expected[block].map(abs).max() ?? 0
            for i in block {
                #expect(abs(actual[i] - expected[i]) <= largest * tolerance, "\(name)[\(i)]")
            }
        }
    }

    @Test func `maps floats in their order in place, and no others`() throws {
        let (gguf, _) = try models()
        func matrix(_ name: String, _ rows: Int) throws -> (WeightMatrix, Tensor) {
            let name = "model.layers.0.self_attn.\(name).weight"
            return (try gguf.weights(name, rows: rows, columns: 64), try gguf.tensor(name))
        }
        let (v, storedV) = try matrix("v_proj", 32)
        #expect(v.raw.data == storedV.bytes.baseAddress)
        let (q, storedQ) = try matrix("q_proj", 64)
        #expect(q.raw.data != storedQ.bytes.baseAddress)
        let expected = try floats("model.layers.0.self_attn.q_proj.weight", of: gguf)
        #expect(q.dequantizedFloat32(on: Compute(threads: 1)).array == expected)
    }

    @Test func `has the configuration that transformers would write`() throws {
        let (gguf, folder) = try models()
        var expected = try ModelConfiguration(folder.configuration, source: "folder")
        expected.layerCount = 1
        #expect(try ModelConfiguration(gguf.configuration, source: "gguf") == expected)
        for key in ["bos_token_id", "eos_token_id", "pad_token_id", "model_type", "architectures"] {
            #expect(gguf.configuration[key] == folder.configuration[key], "\(key)")
        }
    }

    /// Those that Tests/interop/tiny_gguf.py writes with llama.cpp's own names.
    @Test(arguments: ["qwen2_bias_tied", "qwen3_window", "gemma2", "gemma3", "phi3_longrope"])
    func `of every architecture gives the tensors it was converted from`(name: String) throws {
        let gguf = try Checkpoints.open(
            modelResource("checkpoints/\(name)_1layer.gguf").path)
        let folder = try Checkpoints.open(modelResource("tiny/\(name)").path)
        // llama.cpp knows no biases of Qwen 3.
        let expected = folder.tensorNames.filter {
            !$0.contains(".layers.1.") && !(name == "qwen3_window" && $0.hasSuffix("bias"))
        }
        #expect(Set(gguf.tensorNames) == Set(expected))
        for tensor in expected {
            #expect(try gguf.shape(of: tensor) == folder.shape(of: tensor))
            let (actual, exact) = (
                try floats(tensor, of: gguf), try floats(tensor, of: folder)
            )
            // A vector is stored as it is, but 1 is added to and taken off Gemma's norms.
            let isMatrix = try gguf.shape(of: tensor).count == 2
            for (a, b) in zip(actual, exact) {
                #expect(
                    abs(a - b) <= (isMatrix ? Self.f16 * abs(b) + 0x1p-24 : 0x1p-23), "\(tensor)")
            }
        }
    }

    @Test func `of every architecture has its configuration`() throws {
        func configurations(_ name: String) throws -> (ModelConfiguration, ModelConfiguration) {
            var folder = try ModelConfiguration(
                Checkpoints.open(modelResource("tiny/\(name)").path))
            folder.layerCount = 1
            folder.localLayers.remove(1)
            return (
                try ModelConfiguration(
                    Checkpoints.open(modelResource("checkpoints/\(name)_1layer.gguf").path)), folder
            )
        }
        var (actual, expected) = try configurations("qwen2_bias_tied")
        #expect(actual == expected)
        (actual, expected) = try configurations("qwen3_window")
        // Neither does llama.cpp know windows and biases of Qwen 3.
        (expected.slidingWindow, expected.biasedModules) = (nil, [])
        #expect(actual == expected)
        (actual, expected) = try configurations("gemma2")
        // The files do not say what queries are scaled by: llama.cpp has it from the model's size. That
        // scale and the embeddings' are rounded with matrices of 16 bits.
        #expect(actual.attentionScale == Float((1.0 / 24).squareRoot()))
        expected.attentionScale = actual.attentionScale
        #expect(actual == expected)
        (actual, expected) = try configurations("gemma3")
        expected.attentionScale = 0.25
        #expect(actual == expected)
        (actual, expected) = try configurations("phi3_longrope")
        guard case .factors(let factors, let factor) = actual.ropeScaling,
            case .factors(let exact, let exactFactor) = expected.ropeScaling
        else {
            Issue.record("\(String(describing: actual.ropeScaling))")
            return
        }
        // fp32 in the file.
        #expect(zip(factors, exact).allSatisfy { abs($0 - $1) < 1e-6 } && factors.count == 6)
        #expect(abs(factor - exactFactor) < 1e-6)
        expected.ropeScaling = actual.ropeScaling
        #expect(actual == expected)
    }

    @Test func `of another architecture is refused by its name`() throws {
        var gguf = GGUFBuilder()
        gguf.pair("general.architecture", string: "mamba")
        let error = try withFile("x.gguf", gguf.bytes) { path in
            try failure { _ = try Checkpoints.open(path) }
        }
        #expect(error?.code == .unsupported)
        #expect(error?.got == "mamba")
    }

    @Test func `with a tensor that no Llama has is refused by its name`() throws {
        var gguf = llamaHeader()
        gguf.tensor(
            "token_embd.weight", dimensions: [4, 2], data: [UInt8](repeating: 0, count: 32))
        gguf.tensor("blk.0.attn_q.bias", dimensions: [4], data: [UInt8](repeating: 0, count: 16))
        let error = try withFile("x.gguf", gguf.bytes) { path in
            try failure { _ = try Checkpoints.open(path) }
        }
        #expect(error?.code == .unsupported)
        #expect(error?.problem.contains("blk.0.attn_q.bias") == true)
    }

    @Test func `with frequency factors that are not Llama 3's is refused`() throws {
        var gguf = llamaHeader()
        gguf.tensor(
            "token_embd.weight", dimensions: [4, 2], data: [UInt8](repeating: 0, count: 32))
        let factors: [Float] = [3, 1]
        gguf.tensor(
            "rope_freqs.weight", dimensions: [2], data: factors.flatMap { little($0.bitPattern) })
        let error = try withFile("x.gguf", gguf.bytes) { path in
            try failure { _ = try Checkpoints.open(path) }
        }
        #expect(error?.code == .unsupported)
        #expect(error?.problem.contains("rope_freqs.weight") == true)
    }

    private func llamaHeader() -> GGUFBuilder {
        var gguf = GGUFBuilder()
        gguf.pair("general.architecture", string: "llama")
        for (key, value): (String, UInt32) in [
            ("embedding_length", 4), ("attention.head_count", 1), ("context_length", 16),
            ("feed_forward_length", 8), ("block_count", 1),
        ] {
            gguf.pair("llama.\(key)", value)
        }
        gguf.pair(
            "llama.attention.layer_norm_rms_epsilon", type: 6, little(Float(1e-5).bitPattern))
        return gguf
    }
}
