import Foundation
import LorikeetQuant
import OrderedCollections

/// What a GGUF says of the model, as transformers writes it in config.json.
struct GGUFConfiguration {
    /// The tensor in which llama.cpp's converter stores Llama 3's frequency factors.
    static let ropeFactors = "rope_freqs.weight"
    /// Those in which it stores LongRoPE's.
    static let shortFactors = "rope_factors_short.weight"
    static let longFactors = "rope_factors_long.weight"

    let architecture: GGUFArchitecture
    let json: JSON
    let headCount: Int
    let keyValueHeadCount: Int

    init(_ gguf: GGUFFile) throws {
        let name = gguf.metadata["general.architecture"]?.string
        guard let architecture = name.flatMap(GGUFArchitecture.init(rawValue:)) else {
            let known = GGUFArchitecture.allCases.map(\.rawValue).joined(separator: ", ")
            throw LorikeetError(
                .unsupported, gguf.path, "the architecture is not one that Lorikeet runs",
                expected: "one of \(known)", got: name ?? "no general.architecture")
        }
        self.architecture = architecture
        let metadata = GGUFMetadata(gguf, architecture)
        guard try metadata.count("expert_count", default: 0) == 0 else {
            throw LorikeetError(.unsupported, gguf.path, "mixtures of experts are not supported")
        }
        let hiddenSize = try metadata.count("embedding_length")
        headCount = try metadata.count("attention.head_count")
        keyValueHeadCount = try metadata.count("attention.head_count_kv", default: headCount)
        let headWidth = hiddenSize / max(headCount, 1)
        let stated = try metadata.count("attention.key_length", default: headWidth)
        let rotarySize = try metadata.count("rope.dimension_count", default: stated)
        let headSize = try metadata.count(
            "attention.key_length",
            default: architecture.rotatesInPart ? headWidth : rotarySize)
        let valueSize = try metadata.count("attention.value_length", default: headSize)
        guard rotarySize == headSize || architecture.rotatesInPart, valueSize == headSize else {
            throw LorikeetError(
                .unsupported, gguf.path, "heads that rotate in part, or differ in keys and values",
                expected: "\(headSize)", got: "\(rotarySize) rotated, \(valueSize) values")
        }
        guard headCount > 0, keyValueHeadCount > 0 else {
            throw LorikeetError(.malformed, gguf.path, "a head count is 0")
        }
        let embedding = gguf.tensors.first { $0.name == "token_embd.weight" }
        guard let embedding, embedding.shape.count == 2 else {
            throw LorikeetError(.malformed, gguf.path, "no matrix token_embd.weight")
        }
        let maximumPositions = try metadata.count("context_length")
        let theta = try metadata.number("rope.freq_base", default: 10000)
        let rope = try GGUFRope(
            gguf, metadata, theta: theta, headSize: headSize, rotarySize: rotarySize)
        let layerCount = try metadata.count("block_count")

        var members: OrderedDictionary<String, JSON> = [
            "architectures": [.string(architecture.huggingFace.name)],
            "attention_dropout": 0.0,
            "dtype": .string(Self.dtype(gguf)),
            "head_dim": .int(headSize),
            "hidden_act": "silu",
            "hidden_size": .int(hiddenSize),
            "initializer_range": 0.02,
            "intermediate_size": .int(try metadata.count("feed_forward_length")),
            "max_position_embeddings": .int(maximumPositions),
            "model_type": .string(architecture.huggingFace.modelType),
            "num_attention_heads": .int(headCount),
            "num_hidden_layers": .int(layerCount),
            "num_key_value_heads": .int(keyValueHeadCount),
            "rms_norm_eps": .double(try metadata.number("attention.layer_norm_rms_epsilon")),
            "rope_parameters": rope.json,
            "tie_word_embeddings": .bool(!gguf.tensors.contains { $0.name == "output.weight" }),
            "use_cache": true,
            "vocab_size": .int(embedding.shape[0]),
        ]
        for (key, field) in [
            ("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding"),
            ("unk_token_id", "unknown"),
        ] {
            members[key] = gguf.metadata["tokenizer.ggml.\(field)_token_id"]
        }
        let own = try architecture.fields(
            metadata, layerCount: layerCount, headSize: headSize, headWidth: headWidth,
            rope: rope.json)
        for (key, value) in own { members[key] = value }
        members.sort { $0.key < $1.key }
        json = .object(members)
    }

    /// The type of the matrices when they are floats; quantized ones are bf16 by convention.
    private static func dtype(_ gguf: GGUFFile) -> String {
        let types = Set(gguf.tensors.filter { $0.shape.count == 2 }.map(\.type))
        switch types {
        case [.f32]: return "float32"
        case [.f16]: return "float16"
        default: return "bfloat16"
        }
    }
}

/// Checked reading of `llama.…` metadata, or another architecture's.
struct GGUFMetadata {
    private let gguf: GGUFFile
    private let prefix: String

    init(_ gguf: GGUFFile, _ architecture: GGUFArchitecture) {
        self.gguf = gguf
        prefix = architecture.rawValue
    }

    func count(_ key: String, default value: Int? = nil) throws -> Int {
        let field = gguf.metadata["\(prefix).\(key)"]
        if let count = field?.int, (0...1 << 30).contains(count) { return count }
        if field == nil, let value { return value }
        throw malformed(key, expected: "a whole number to \(1 << 30)", got: field)
    }

    func number(_ key: String, default value: Double? = nil) throws -> Double {
        let field = gguf.metadata["\(prefix).\(key)"]
        if let number = field?.double, number.isFinite { return number }
        if field == nil, let value { return value }
        throw malformed(key, expected: "a number", got: field)
    }

    func text(_ key: String) -> String? { gguf.metadata["\(prefix).\(key)"]?.string }

    private func malformed(_ key: String, expected: String, got: JSON?) -> LorikeetError {
        LorikeetError(
            .malformed, gguf.path, "\(prefix).\(key) is not what it must be", expected: expected,
            got: got?.text() ?? "nothing")
    }
}
