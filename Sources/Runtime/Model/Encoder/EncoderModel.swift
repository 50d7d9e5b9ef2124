public import LorikeetQuant

/// An encoder (BERT, DeBERTaV3): frozen weights, mapped and shared.
///
/// The weights never change, so one model serves any number of passes at once. What changes lives in an
/// `EncoderPass`.
public final class EncoderModel: Sendable {
    /// Its dimensions.
    public let configuration: EncoderConfiguration
    /// What the checkpoint has of a sequence classifier's head, in fp32, by name.
    public let headTensors: [String: Buffer<Float>]
    let embeddings: EncoderEmbeddings
    let blocks: [EncoderBlock]
    /// Makes the last block's sum the hidden states.
    let norm: LayerNorm
    let positions: EncoderPositions?

    /// Maps the weights of `checkpoint`, and rearranges them for the precision of `compute`.
    ///
    /// - Throws: `LorikeetError` for another architecture, a tensor that is missing, or one whose shape is not
    ///   what config.json says.
    public init(checkpoint: any Checkpoint, on compute: Compute) throws {
        let configuration = try EncoderConfiguration(checkpoint)
        let tiling = Tiling(on: compute)
        let reader = EncoderReader(configuration, checkpoint, in: tiling)
        self.configuration = configuration
        embeddings = try EncoderEmbeddings(configuration: configuration, reader: reader)
        blocks = try (0..<configuration.layerCount).map {
            try EncoderBlock(configuration: configuration, reader: reader, layer: $0)
        }
        norm = try reader.norm("encoder.layer.\(configuration.layerCount - 1).output.LayerNorm")
        positions = try configuration.relativePositions.map {
            try EncoderPositions($0, configuration, reader: reader, on: compute)
        }
        headTensors = try Self.headTensors(of: checkpoint, configuration)
        tiling.finish()
    }

    /// The frozen weights of the layer at `path`, or nil where the model has no such layer.
    public func weight(at path: ModulePath) -> LinearWeight? {
        guard blocks.indices.contains(path.layer) else { return nil }
        return blocks[path.layer].layers.first { $0.module == path.module }?.linear.weight
    }

    /// Bytes of all linear layers' weights.
    public var weightMemory: Int {
        blocks.flatMap(\.layers).reduce(0) { $0 + $1.linear.weight.memory }
    }

    /// Bytes of the embedding of words that are in memory once the rows of so many tokens were read: Linux maps
    /// 64 KiB around a page of a file that is read (fault_around_bytes).
    public func embeddingMemory(ofTokens count: Int) -> Int {
        min(count * 64 << 10, embeddings.words.memory)
    }

    /// Throws unless every row has tokens, in number and kind as the model knows them.
    package func check(_ rows: [TrainingRow]) throws {
        let bound = configuration.vocabularySize
        for row in rows {
            guard !row.inputIDs.isEmpty else {
                throw LorikeetError(.invalidArgument, "a text", "has no tokens")
            }
            for token in row.inputIDs where token < 0 || token >= bound {
                throw LorikeetError(
                    .invalidArgument, "token \(token)", "outside the model's vocabulary",
                    expected: "0 ..< \(bound)",
                    advice: "Was the text encoded with this model's tokenizer?")
            }
            guard row.inputIDs.count <= configuration.maximumPositions else {
                throw LorikeetError(
                    .invalidArgument, "a text", "has more tokens than the model has positions",
                    expected: "at most \(configuration.maximumPositions)",
                    got: "\(row.inputIDs.count)")
            }
        }
    }

    private static func headTensors(
        of checkpoint: any Checkpoint, _ configuration: EncoderConfiguration
    ) throws -> [String: Buffer<Float>] {
        let names = Set(checkpoint.tensorNames)
        var tensors: [String: Buffer<Float>] = [:]
        for tensor in configuration.headTensors(labels: configuration.labels.count) {
            // Of a model without a head, BERT's pooler is there all the same, under a shorter name.
            let stored = [tensor.name, String(tensor.name.trimmingPrefix(configuration.prefix))]
                .first(where: names.contains)
            guard let stored else { continue }
            try checkpoint.require(stored, shape: tensor.shape)
            let values = Buffer<Float>(tensor.shape.reduce(1, *))
            try checkpoint.floats(stored, into: values.pointer)
            tensors[tensor.name] = values
        }
        return tensors
    }
}

extension EncoderPositions {
    fileprivate init(
        _ scheme: RelativePositions, _ configuration: EncoderConfiguration,
        reader: EncoderReader, on compute: Compute
    ) throws {
        let C = configuration.hiddenSize
        let stored = try reader.table("encoder.rel_embeddings", rows: scheme.count)
        let table = Buffer<Float>(scheme.count * C)
        for row in 0..<scheme.count {
            stored.row(row, into: table.pointer + row * C, on: compute)
        }
        if configuration.normalizesRelativePositions {
            try reader.norm("encoder.LayerNorm").forward(
                table.pointer, count: scheme.count, into: table.pointer,
                LayerNorm.Statistics(scheme.count), on: compute)
        }
        self.init(scheme: scheme, table: table, width: C)
    }
}
