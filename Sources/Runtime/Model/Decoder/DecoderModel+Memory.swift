public import LorikeetQuant

extension DecoderModel {
    /// The memory that a model's weights take, from its files' headers alone.
    public struct Memory: Sendable, Equatable {
        /// Its dimensions.
        public var configuration: ModelConfiguration
        /// Bytes of the linear layers in the form that products read, the output projection among them,
        /// and of norms and biases.
        public var weights: Int
        /// The embedding; nil where it is the output projection in the same memory.
        var embedding: WeightLayout?
        /// The widest input or output of a block's layer that is held as tiles; 0 where none is.
        var widestTiled: Int
        /// Whether the output projection is held as tiles.
        var tilesOutput: Bool

        // Linux maps so many bytes around a page of a file that is read (fault_around_bytes).
        private static let window = 64 << 10

        /// Bytes of the embedding that are in memory once the rows of `tokens` were read; nil for all rows.
        public func embeddingMemory(of tokens: Set<Int32>?) -> Int {
            guard let embedding else { return 0 }
            guard let tokens, embedding.isMapped else { return embedding.memory }
            let rowBytes = embedding.memory / embedding.rows
            var windows: Set<Int> = []
            for token in tokens {
                let start = Int(token) * rowBytes
                windows.formUnion(start / Self.window...(start + rowBytes - 1) / Self.window)
            }
            return min(windows.count * Self.window, embedding.memory)
        }
    }

    /// What the weights of `checkpoint` will take where products are computed in `precision`.
    ///
    /// - Throws: as `init(checkpoint:on:)`, but the weights themselves are not read.
    public static func memory(
        of checkpoint: any Checkpoint, precision: Precision
    ) throws -> Memory {
        let configuration = try ModelConfiguration(checkpoint)
        let (C, V) = (configuration.hiddenSize, configuration.vocabularySize)
        func layout(_ name: String, _ rows: Int, _ columns: Int) throws -> WeightLayout {
            try checkpoint.require(name, shape: [rows, columns])
            return try checkpoint.layout(of: name)
        }
        let norms = Self.vectors(of: configuration).reduce(0) { $0 + Buffer<Float>.memory($1) }
        var memory = Memory(
            configuration: configuration, weights: norms, embedding: nil, widestTiled: 0,
            tilesOutput: false)
        for layer in 0..<configuration.layerCount {
            for entry in configuration.modules.entries {
                let path = ModulePath(layer: layer, module: entry.module)
                let weight = try layout("\(path).weight", entry.outputs, entry.inputs)
                memory.weights += LinearWeight.memory(
                    weight, roundsFloats: false, precision: precision)
                if LinearWeight.becomesTiles(weight, roundsFloats: false, precision: precision) {
                    memory.widestTiled = max(
                        memory.widestTiled, entry.outputs, entry.inputs)
                }
            }
        }
        let embedding = try layout("model.embed_tokens.weight", V, C)
        let isTied = configuration.tiesEmbeddings
        let output = isTied ? embedding : try layout("lm_head.weight", V, C)
        memory.weights += LinearWeight.memory(output, roundsFloats: true, precision: precision)
        memory.tilesOutput = LinearWeight.becomesTiles(
            output, roundsFloats: true, precision: precision)
        // Tied, as it is stored and mapped: one piece of memory for both.
        memory.embedding = isTied && !memory.tilesOutput && embedding.isMapped ? nil : embedding
        return memory
    }
}

extension DecoderModel {
    /// The lengths of norms and biases.
    private static func vectors(of configuration: ModelConfiguration) -> [Int] {
        let C = configuration.hiddenSize
        let residual = configuration.normalizesResults ? [C, C, C, C] : [C, C]
        let heads =
            configuration.normalizesHeads ? [configuration.headSize, configuration.headSize] : []
        let biases = configuration.modules.entries.filter {
            configuration.biasedModules.contains($0.module)
        }.map(\.outputs)
        let block = residual + heads + biases
        return (0..<configuration.layerCount).flatMap { _ in block } + [C]
    }
}

extension ModelConfiguration {
    /// The configuration of `checkpoint`.
    ///
    /// - Throws: as `init(_:source:)`.
    public init(_ checkpoint: any Checkpoint) throws {
        try self.init(
            checkpoint.configuration,
            source: checkpoint.path + (checkpoint is HuggingFaceFolder ? "/config.json" : ""))
    }
}
