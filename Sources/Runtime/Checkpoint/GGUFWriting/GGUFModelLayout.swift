public import LorikeetQuant
import OrderedCollections

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A model as llama.cpp knows its kind: the name of its architecture, its dimensions, its matrices' row order.
public struct GGUFModelLayout: Sendable {
    /// `general.architecture`.
    public let name: String
    private let configuration: JSON
    private let model: ModelConfiguration

    /// The kind of `checkpoint`.
    ///
    /// - Throws: `.unsupported` for one that is not written; what reading the configuration throws.
    public init(_ checkpoint: any Checkpoint) throws {
        let kind = checkpoint.configuration["model_type"]?.string
        guard kind ?? "llama" == "llama" else {
            throw LorikeetError(
                .unsupported, checkpoint.path, "a model of this kind is not written as GGUF",
                expected: "llama", got: kind,
                advice: "Export it as safetensors, and convert it with llama.cpp's script.")
        }
        name = "llama"
        configuration = checkpoint.configuration
        model = try ModelConfiguration(checkpoint)
    }

    /// `general.*` and `llama.*` of a model whose matrices are of `type`.
    func metadata(name title: String, type: TensorType) -> OrderedDictionary<String, GGUFValue> {
        var values: OrderedDictionary<String, GGUFValue> = [
            "general.architecture": .string(name), "general.type": .string("model"),
            "general.name": .string(title), "general.file_type": Self.fileType(type),
        ]
        for (key, count) in [
            ("block_count", model.layerCount), ("context_length", model.maximumPositions),
            ("embedding_length", model.hiddenSize),
            ("feed_forward_length", model.intermediateSize),
            ("attention.head_count", model.headCount),
            ("attention.head_count_kv", model.keyValueHeadCount),
            ("attention.key_length", model.headSize), ("attention.value_length", model.headSize),
            ("rope.dimension_count", model.headSize), ("vocab_size", model.vocabularySize),
        ] {
            values["\(name).\(key)"] = .uint32(count)
        }
        values["\(name).attention.layer_norm_rms_epsilon"] = .float32(model.normEpsilon)
        values["\(name).rope.freq_base"] = .float32(Float(model.ropeTheta))
        if case .linear(let factor) = model.ropeScaling {
            values["\(name).rope.scaling.type"] = .string("linear")
            values["\(name).rope.scaling.factor"] = .float32(Float(factor))
        }
        return values
    }

    /// `general.file_type` of matrices of `type` (llama_ftype).
    package static func fileType(_ type: TensorType) -> GGUFValue {
        .uint32(type == .f32 ? 0 : type == .f16 ? 1 : 32)
    }

    /// What Llama 3's scaling divides the frequencies by [headSize / 2], a tensor of its own in a GGUF; nil for
    /// other models.
    ///
    /// With wavelength λ = 2π θ^(2i/D) and L the original context, 1 for λ < L/high, the factor for λ > L/low,
    /// and 1 / ((1 - s)/factor + s), s = (L/λ - low)/(high - low), between.
    func ropeFactors() -> Buffer<Float>? {
        guard case .llama3(let factor, let low, let high, let context) = model.ropeScaling else {
            return nil
        }
        let factors = (0..<model.headSize / 2).map { i in
            let wavelength =
                2 * Double.pi * pow(model.ropeTheta, 2 * Double(i) / Double(model.headSize))
            let smooth = min(max((Double(context) / wavelength - low) / (high - low), 0), 1)
            return Float(1 / ((1 - smooth) / factor + smooth))
        }
        return Buffer(factors)
    }

    /// The tensor's name in a GGUF; nil for one that the architecture has not.
    public func tensorName(of checkpointName: String) -> String? {
        GGUFTensorName(huggingFace: checkpointName, in: .llama)?.gguf
    }

    /// Whether a checkpoint's tensor is left out of a GGUF: an output projection that is the embedding, or the
    /// rotary frequencies that old checkpoints store.
    func leavesOut(_ checkpointName: String) -> Bool {
        checkpointName == "lm_head.weight" && model.tiesEmbeddings
            || checkpointName.hasSuffix(".rotary_emb.inv_freq")
    }

    /// The rows of the matrix `name` in the order that a GGUF stores them: the same buffer where it is the
    /// checkpoint's.
    ///
    /// The rows of a low-rank term's B follow the weight's.
    ///
    /// - rows: [rows, columns]
    public func reordered(_ rows: Buffer<Float>, of name: String, columns: Int) -> Buffer<Float> {
        guard
            let headCount = GGUFTensorName(huggingFace: name, in: .llama)?.rowOrder.headCount(
                in: model)
        else { return rows }
        let count = rows.count / columns
        let ordered = Buffer<Float>(uninitialized: rows.count)
        for row in 0..<count {
            let source = GGUFTensorName.RowOrder.checkpointRow(
                at: row, headSize: count / headCount)
            (ordered.pointer + row * columns).update(
                from: rows.pointer + source * columns, count: columns)
        }
        return ordered
    }
}
