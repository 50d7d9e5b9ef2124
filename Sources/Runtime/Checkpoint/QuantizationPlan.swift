import LorikeetQuant
import OrderedCollections

/// Which tensors of a source are quantized, and what the output's config.json says of it.
struct QuantizationPlan {
    /// A tensor of the output, under the source's name.
    struct Item {
        /// How the output has it.
        enum Storage {
            /// As floats of the plan's type.
            case floats
            /// Quantized anew.
            case quantized
            /// In 4 bits as the source has it, byte for byte.
            case copied
        }

        let name: String
        let shape: [Int]
        let storage: Storage
        var count: Int { shape.reduce(1, *) }
        var isQuantized: Bool { storage != .floats }
    }

    let items: [Item]
    let options: QuantizeOptions
    /// The type of what is not quantized.
    let dtype: TensorType
    private let source: JSON
    /// What a classifier is trained with in full precision, an encoder's pooler and classifier: in floats, though
    /// transformers would quantize them.
    private let head: [String]

    var parameters: Int { items.reduce(0) { $0 + $1.count } }
    var quantizedParameters: Int { items.reduce(0) { $1.isQuantized ? $0 + $1.count : $0 } }

    init(source: any Checkpoint, options: QuantizeOptions) throws {
        let quantization = source.configuration["quantization_config"] ?? .null
        if !quantization.isNull || (source as? HuggingFaceFolder)?.isQuantized == true {
            throw LorikeetError(
                .unsupported, source.path, "the source is quantized already",
                advice: "Quantize the unquantized model: quantizing twice loses twice.")
        }
        self.options = options
        self.source = source.configuration
        let head =
            EncoderConfiguration.describes(source.configuration)
            ? try EncoderConfiguration(source).headLayers : []
        self.head = head
        // Whole numbers that transformers up to 4.30 saved with BERT, and makes itself.
        let names = source.tensorNames.filter { head.isEmpty || !$0.hasSuffix(".position_ids") }
        items = try names.map { name in
            let shape = try source.shape(of: name)
            let isSkipped =
                options.skip.contains { name.contains($0) }
                || head.contains { name == "\($0).weight" }
            let isQuantized =
                shape.count == 2 && !shape.contains(0) && Self.isLinear(name) && !isSkipped
            return Item(name: name, shape: shape, storage: isQuantized ? .quantized : .floats)
        }
        guard items.contains(where: \.isQuantized) else {
            throw LorikeetError(
                .invalidArgument, source.path, "nothing is left to quantize",
                advice: options.skip.isEmpty ? nil : "Skip less: \(options.skip).")
        }
        dtype = try options.dtype ?? Self.floatType(of: items, source)
        precondition(QuantizationPlan.names[dtype] != nil, "\(dtype) is no type of weights")
    }

    /// Everything in floats of `dtype`, whatever the source stores it in.
    init(floatsOf source: any Checkpoint, dtype: TensorType) throws {
        options = QuantizeOptions()
        self.source = source.configuration
        self.dtype = dtype
        head = []
        items = try source.tensorNames.map {
            Item(name: $0, shape: try source.shape(of: $0), storage: .floats)
        }
    }

    /// The matrices that are in 4 bits in `base` again in 4 bits, all else in floats of `dtype`.
    ///
    /// - source: the weights.
    /// - base: a checkpoint of the same tensors.
    /// - isChanged: whether `source` has other weights under a name than `base`: the others are copied.
    init(
        requantizing source: any Checkpoint, like base: HuggingFaceFolder, dtype: TensorType,
        configuration: QuantizationConfiguration, isChanged: (_ name: String) -> Bool
    ) throws {
        options = QuantizeOptions(configuration: configuration)
        self.source = source.configuration
        self.dtype = dtype
        head = []
        items = try source.tensorNames.map { name in
            let isFourBit = try base.quantization(of: name) != nil
            return Item(
                name: name, shape: try source.shape(of: name),
                storage: !isFourBit ? .floats : isChanged(name) ? .quantized : .copied)
        }
    }

    /// Whether a matrix is a linear layer inside the model, as transformers decides it.
    private static func isLinear(_ name: String) -> Bool {
        let outputs = ["lm_head", "embed_out", "classifier", "score"]
        let parts = name.split(separator: ".")
        return parts.last == "weight" && !name.contains("embed") && !name.contains("norm")
            && !parts.contains { outputs.contains(String($0)) }
    }

    /// The type of the largest part of the source; bf16 when that is quantized.
    private static func floatType(of items: [Item], _ source: any Checkpoint) throws -> TensorType {
        var counts: [TensorType: Int] = [:]
        for item in items { counts[try source.tensor(item.name).type, default: 0] += item.count }
        let most = counts.max { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) }?.key
        return most.flatMap { names[$0] == nil ? nil : $0 } ?? .bf16
    }

    /// The types of weights as PyTorch names them.
    private static let names: [TensorType: String] = [
        .f32: "float32", .f16: "float16", .bf16: "bfloat16",
    ]

    /// `dtype` as PyTorch names it.
    var dtypeName: String { Self.names[dtype] ?? dtype.rawValue }

    /// The source's config.json with what transformers 5 adds when it saves a 4-bit model.
    func configuration() -> JSON {
        var members = source.object ?? [:]
        // Up to transformers 4 the key was torch_dtype; both read either.
        members[members["torch_dtype"] == nil ? "dtype" : "torch_dtype"] = .string(dtypeName)
        guard items.contains(where: \.isQuantized) else {
            members["quantization_config"] = nil
            return .object(
                OrderedDictionary(uniqueKeysWithValues: members.sorted { $0.key < $1.key }))
        }
        let skipped = items.filter { item in
            !item.isQuantized && item.shape.count == 2 && Self.isLinear(item.name)
        }.map { String($0.name.dropLast(".weight".count)) }
        let kept = skipped + head.filter { !skipped.contains($0) }
        members["quantization_config"] = [
            "_load_in_4bit": true,
            "_load_in_8bit": false,
            "bnb_4bit_compute_dtype": "float32",
            "bnb_4bit_quant_storage": "uint8",
            "bnb_4bit_quant_type": .string(options.configuration.format.rawValue),
            "bnb_4bit_use_double_quant": .bool(options.configuration.doubleQuantization),
            "llm_int8_enable_fp32_cpu_offload": false,
            "llm_int8_has_fp16_weight": false,
            // A list replaces transformers' own, which is the output projection.
            "llm_int8_skip_modules": kept.isEmpty
                ? nil : .array((kept + ["lm_head"]).map { .string($0) }),
            "llm_int8_threshold": 6.0,
            "load_in_4bit": true,
            "load_in_8bit": false,
            "quant_method": "bitsandbytes",
        ]
        return .object(
            OrderedDictionary(uniqueKeysWithValues: members.sorted { $0.key < $1.key }))
    }

    /// generation_config.json for a source without one.
    func generationConfiguration() -> JSON {
        var members: OrderedDictionary<String, JSON> = ["_from_model_config": true]
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] { members[key] = source[key] }
        return .object(members)
    }
}
