public import LorikeetQuant
import OrderedCollections

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A model as llama.cpp knows its kind: the name of its architecture, its dimensions, its tensors' names and
/// numbers.
public struct GGUFModelLayout: Sendable {
    private let architecture: GGUFArchitecture
    private let configuration: JSON
    private let model: ModelConfiguration

    /// The kind of `checkpoint`.
    ///
    /// - Throws: `.unsupported` for one that is not written; what reading the configuration throws.
    public init(_ checkpoint: any Checkpoint) throws {
        let kind = checkpoint.configuration["model_type"]?.string ?? Llama.modelType
        // Mistral's files are Llama's.
        let known = GGUFArchitecture.allCases.first {
            $0.huggingFace.modelType == (kind == Mistral.modelType ? Llama.modelType : kind)
        }
        guard let known else {
            let kinds = GGUFArchitecture.allCases.map(\.huggingFace.modelType)
            throw LorikeetError(
                .unsupported, checkpoint.path, "a model of this kind is not written as GGUF",
                expected: (kinds + [Mistral.modelType]).joined(separator: ", "), got: kind)
        }
        architecture = known
        configuration = checkpoint.configuration
        model = try ModelConfiguration(checkpoint)
        try architecture.requireImplied(by: model, path: checkpoint.path)
    }

    /// `general.architecture`.
    public var name: String { architecture.rawValue }

    /// `general.*` and `llama.*`, or another architecture's, of a model whose matrices are of `type`.
    func metadata(name title: String, type: TensorType) -> OrderedDictionary<String, GGUFValue> {
        var values: OrderedDictionary<String, GGUFValue> = [
            "general.architecture": .string(name), "general.type": .string("model"),
            "general.name": .string(title), "general.file_type": Self.fileType(type),
        ]
        for (key, count) in [
            ("block_count", model.layerCount),
            ("context_length", architecture.contextLength(model, configuration)),
            ("embedding_length", model.hiddenSize),
            ("feed_forward_length", model.intermediateSize),
            ("attention.head_count", model.headCount),
            ("attention.head_count_kv", model.keyValueHeadCount),
            ("attention.key_length", model.headSize), ("attention.value_length", model.headSize),
            ("rope.dimension_count", model.rotarySize), ("vocab_size", model.vocabularySize),
        ] {
            values["\(name).\(key)"] = .uint32(count)
        }
        values["\(name).attention.layer_norm_rms_epsilon"] = .float32(model.normEpsilon)
        values["\(name).rope.freq_base"] = .float32(Float(model.ropeTheta))
        if case .linear(let factor) = model.ropeScaling {
            values["\(name).rope.scaling.type"] = .string("linear")
            values["\(name).rope.scaling.factor"] = .float32(Float(factor))
        }
        for (key, value) in architecture.metadata(of: model) { values["\(name).\(key)"] = value }
        return values
    }

    /// `general.file_type` of matrices of `type` (llama_ftype).
    package static func fileType(_ type: TensorType) -> GGUFValue {
        .uint32(type == .f32 ? 0 : type == .f16 ? 1 : 32)
    }

    /// What the rotary frequencies are divided by [rotarySize / 2], tensors of their own in a GGUF: Llama 3's
    /// factors, or LongRoPE's of short and long texts.
    func ropeFactors() -> [(name: String, factors: Buffer<Float>)] {
        switch model.ropeScaling {
        case .none, .linear: return []
        case .llama3(let factor, let low, let high, let context):
            return [
                (
                    GGUFConfiguration.ropeFactors,
                    llama3Factors(factor: factor, low: low, high: high, context: context)
                )
            ]
        case .factors(let short, _):
            let rope = configuration["rope_scaling"] ?? configuration["rope_parameters"]
            let long = rope?["long_factor"]?.array?.compactMap(\.double) ?? short
            return [
                (GGUFConfiguration.shortFactors, Buffer(short.map { Float($0) })),
                (GGUFConfiguration.longFactors, Buffer(long.map { Float($0) })),
            ]
        }
    }

    /// With wavelength λ = 2π θ^(2i/D) and L the original context, 1 for λ < L/high, the factor for λ > L/low,
    /// and 1 / ((1 - s)/factor + s), s = (L/λ - low)/(high - low), between.
    private func llama3Factors(
        factor: Double, low: Double, high: Double, context: Int
    ) -> Buffer<Float> {
        Buffer(
            (0..<model.headSize / 2).map { i in
                let wavelength =
                    2 * Double.pi * pow(model.ropeTheta, 2 * Double(i) / Double(model.headSize))
                let smooth = min(max((Double(context) / wavelength - low) / (high - low), 0), 1)
                return Float(1 / ((1 - smooth) / factor + smooth))
            })
    }

    /// The tensor's name in a GGUF; nil for one that the architecture has not.
    public func tensorName(of checkpointName: String) -> String? {
        GGUFTensorName(huggingFace: checkpointName, in: architecture)?.gguf
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
            let headCount = GGUFTensorName(huggingFace: name, in: architecture)?.rowOrder.headCount(
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

    /// The numbers of the tensor `name` as a GGUF stores them.
    ///
    /// - floats: as the checkpoint has them, which may be changed.
    func stored(_ floats: Buffer<Float>, of name: String, columns: Int) -> Buffer<Float> {
        if architecture.addsOneToNorms, name.hasSuffix("norm.weight") {
            for i in 0..<floats.count { floats[i] += 1 }
        }
        return reordered(floats, of: name, columns: columns)
    }
}
