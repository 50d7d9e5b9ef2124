public import LorikeetQuant
import QuantKernels

/// A decoder: frozen weights, mapped and shared.
///
/// The weights never change, so one model serves any number of passes at once. What changes lives in
/// a pass: `InferencePass` for text, `TrainingPass` for gradients.
public final class DecoderModel: Sendable {
    /// Its dimensions.
    public let configuration: ModelConfiguration
    /// Token embedding [vocabulary, hidden].
    public let embedding: WeightMatrix
    /// Output projection [vocabulary, hidden]; the embedding itself where they are tied.
    public let output: LinearWeight
    let blocks: [DecoderBlock]
    let modules: BlockModules
    let norm: RMSNorm

    /// Reads the weights that `reader` finds.
    package init(_ configuration: ModelConfiguration, reader: DecoderReader) throws {
        self.configuration = configuration
        modules = configuration.modules
        let (C, V) = (configuration.hiddenSize, configuration.vocabularySize)
        embedding = try reader.weights("model.embed_tokens.weight", V, C)
        blocks = try (0..<configuration.layerCount).map {
            try DecoderBlock(configuration: configuration, reader: reader, layer: $0)
        }
        norm = try reader.norm("model.norm")
        let outputName = configuration.tiesEmbeddings ? "model.embed_tokens" : "lm_head"
        output = try reader.linear("\(outputName).weight", V, C, true)
    }

    /// Bytes of all the linear layers' weights, the output projection's among them: what a decoded
    /// token reads.
    public var weightMemory: Int {
        blocks.reduce(output.memory) { sum, block in
            block.linears.reduce(sum) { $0 + $1.weight.memory }
        }
    }

    /// The frozen weights of the layer at `path`, or nil where the model has no such layer.
    public func weight(at path: ModulePath) -> LinearWeight? {
        guard blocks.indices.contains(path.layer),
            let place = modules.all.firstIndex(of: path.module)
        else { return nil }
        return blocks[path.layer].linears[place].weight
    }

    /// x = the embeddings of `tokens` [tokens, hidden], the model's own or another's.
    func embed(
        _ tokens: some RandomAccessCollection<Int32>, by other: WeightMatrix? = nil,
        into x: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        let embedding = other ?? embedding
        let (C, scale) = (configuration.hiddenSize, configuration.embeddingScale)
        for (row, token) in tokens.enumerated() {
            embedding.row(Int(token), into: x + row * C, on: compute)
        }
        if scale != 1 { compute.kernels.scale(scale, tokens.count * C, x) }
    }

    /// Throws unless every one of `tokens` is in the vocabulary.
    package func check(_ tokens: some Collection<Int32>) throws {
        for token in tokens where token < 0 || token >= configuration.vocabularySize {
            throw LorikeetError(
                .invalidArgument, "token \(token)", "outside the model's vocabulary",
                expected: "0 ..< \(configuration.vocabularySize)",
                advice: "Was the text encoded with this model's tokenizer?")
        }
    }
}

/// Where a model's weights come from, by their names in a Hugging Face checkpoint.
package struct DecoderReader {
    /// The matrix of this name with this many rows and columns.
    let weights: (_ name: String, _ rows: Int, _ columns: Int) throws -> WeightMatrix
    /// The same, in the form that a linear layer's products read; `isOutput` for the output projection.
    let linear:
        (_ name: String, _ rows: Int, _ columns: Int, _ isOutput: Bool) throws -> LinearWeight
    /// The vector of this name with this many elements.
    let vector: (_ name: String, _ count: Int) throws -> Buffer<Float>
    private let configuration: ModelConfiguration
    private let modules: BlockModules

    /// Creates a reader.
    package init(
        _ configuration: ModelConfiguration,
        weights: @escaping (_ name: String, _ rows: Int, _ columns: Int) throws -> WeightMatrix,
        linear: (
            (_ name: String, _ rows: Int, _ columns: Int, _ isOutput: Bool) throws -> LinearWeight
        )? = nil,
        vector: @escaping (_ name: String, _ count: Int) throws -> Buffer<Float>
    ) {
        self.configuration = configuration
        modules = configuration.modules
        self.weights = weights
        self.linear =
            linear ?? { name, rows, columns, _ in .stored(try weights(name, rows, columns)) }
        self.vector = vector
    }

    /// The layers of a block's product.
    func linears(_ layer: Int, _ product: BlockProduct) throws -> [Linear] {
        try modules.products[product.rawValue].map { place in
            let entry = modules.entries[place]
            let path = ModulePath(layer: layer, module: entry.module)
            let isBiased = configuration.biasedModules.contains(entry.module)
            return Linear(
                weight: try linear("\(path).weight", entry.outputs, entry.inputs, false),
                bias: isBiased ? try vector("\(path).bias", entry.outputs) : nil)
        }
    }

    /// The norm of vectors of `width`, or the residual stream's.
    func norm(_ name: String, width: Int? = nil) throws -> RMSNorm {
        let weight = try vector("\(name).weight", width ?? configuration.hiddenSize)
        return RMSNorm(
            weight: weight, offset: configuration.normOffset, epsilon: configuration.normEpsilon)
    }
}

extension DecoderModel {
    /// Maps the weights of `checkpoint`, and rearranges them for the precision of `compute`: where
    /// tiles take the place of a tensor, its pages in memory are let go of at once.
    ///
    /// - Throws: `LorikeetError` for another architecture, a tensor that is missing, or one whose shape
    ///   is not what config.json says.
    public convenience init(checkpoint: any Checkpoint, on compute: Compute) throws {
        let configuration = try ModelConfiguration(checkpoint)
        let tiling = Tiling(on: compute)
        try self.init(
            configuration,
            reader: DecoderReader(
                configuration,
                weights: { try checkpoint.weights($0, rows: $1, columns: $2) },
                linear: { name, rows, columns, isOutput in
                    let stored = try checkpoint.weights(name, rows: rows, columns: columns)
                    let tensor = try checkpoint.tensor(name)
                    return LinearWeight(stored, roundsFloats: isOutput, in: tiling) {
                        tensor.releasePages(ofRows: $0, of: rows)
                    }
                },
                vector: { try checkpoint.vector($0, count: $1) }))
        tiling.finish()
    }
}
