import Foundation
import LorikeetQuant
import LorikeetRuntime
import TestSupport

/// A folder of a model that is to be exported: one block of random weights and a vocabulary.
enum ExportedModel {
    /// Writes the folder at `path`, with so many rows of the embedding and these files beside the weights.
    static func write(
        to path: String, vocabulary: Int, files: [String: Data], settings: [String: JSON] = [:],
        extra: [String] = []
    ) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        var configuration: JSON = [
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "float32",
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "vocab_size": .int(vocabulary),
        ]
        for (key, value) in settings { configuration[key] = value }
        try configuration.data().write(to: URL(filePath: path + "/config.json"))
        for (name, data) in files { try data.write(to: URL(filePath: path + "/" + name)) }
        let block = "model.layers.0."
        var shapes: [String: [Int]] = [
            "model.embed_tokens.weight": [vocabulary, 16], "model.norm.weight": [16],
            block + "input_layernorm.weight": [16],
            block + "post_attention_layernorm.weight": [16],
            block + "self_attn.q_proj.weight": [16, 16],
            block + "self_attn.k_proj.weight": [8, 16], block + "self_attn.v_proj.weight": [8, 16],
            block + "self_attn.o_proj.weight": [16, 16], block + "mlp.gate_proj.weight": [24, 16],
            block + "mlp.up_proj.weight": [24, 16], block + "mlp.down_proj.weight": [16, 24],
        ]
        for name in extra { shapes[name] = [4, 4] }
        let tensors = shapes.sorted { $0.key < $1.key }.map {
            TensorDescription(name: $0, type: .f32, shape: $1)
        }
        try SafetensorsWriter.write(to: path + "/model.safetensors", tensors) { file in
            for (index, tensor) in tensors.enumerated() {
                try file.write(
                    noise(tensor.shape.reduce(1, *), seed: UInt64(index + 1)), as: tensor.name)
            }
        }
    }

    /// A tokenizer.json whose tokens are bytes, cut into GPT-2's words.
    static let bytes = bytes(below: 256)

    /// The same with the first bytes alone.
    static func bytes(below count: Int) -> Data {
        var json = ByteTokenizer.json()
        var vocabulary = JSON.Object()
        for (token, id) in json["model"]?["vocab"]?.object ?? [:] where (id.int ?? 0) < count {
            vocabulary[token] = id
        }
        json["model"]?["vocab"] = .object(vocabulary)
        json["pre_tokenizer"] = [
            "type": "ByteLevel", "add_prefix_space": false, "use_regex": true,
        ]
        return json.data()
    }

    /// A vocabulary of Resources/tokenizer.
    static func vocabulary(_ name: String) throws -> Data {
        try Data(contentsOf: modelResource("tokenizer/" + name))
    }
}

/// The elements of a checkpoint's tensor.
func elements(_ name: String, of checkpoint: any Checkpoint) throws -> [Float] {
    let buffer = Buffer<Float>(try checkpoint.shape(of: name).reduce(1, *))
    try checkpoint.floats(name, into: buffer.pointer)
    return buffer.array
}
