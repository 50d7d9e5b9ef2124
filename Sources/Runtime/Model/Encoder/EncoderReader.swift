package import LorikeetQuant

/// Where an encoder's weights come from, by their names below the encoder: `encoder.layer.0.output.dense.weight`.
package struct EncoderReader {
    private let configuration: EncoderConfiguration
    private let checkpoint: any Checkpoint
    private let tiling: Tiling
    private let prefix: String

    /// Reads `checkpoint`, in which names begin with `bert.` where there is a head, and may without one.
    package init(
        _ configuration: EncoderConfiguration, _ checkpoint: any Checkpoint, in tiling: Tiling
    ) {
        self.configuration = configuration
        self.checkpoint = checkpoint
        self.tiling = tiling
        prefix =
            checkpoint.tensorNames.contains { $0.hasPrefix(configuration.prefix) }
            ? configuration.prefix : ""
    }

    /// A linear layer of the block `layer`, with its bias.
    func linear(_ layer: Int, _ module: LinearModule) throws -> EncoderLinear {
        let modules = configuration.modules
        guard let (rows, columns) = modules.shape(of: module) else {
            preconditionFailure("the blocks have no \(module.path)")
        }
        let name = "\(prefix)encoder.layer.\(layer).\(module.path)"
        let stored = try checkpoint.weights("\(name).weight", rows: rows, columns: columns)
        let tensor = try checkpoint.tensor("\(name).weight")
        let weight = LinearWeight(stored, in: tiling) { tensor.releasePages(ofRows: $0, of: rows) }
        let bias = try checkpoint.vector("\(name).bias", count: rows)
        return EncoderLinear(Linear(weight: weight, bias: bias), as: module, in: modules)
    }

    /// A normalization.
    func norm(_ name: String) throws -> LayerNorm {
        let C = configuration.hiddenSize
        return LayerNorm(
            weight: try checkpoint.vector("\(prefix)\(name).weight", count: C),
            bias: try checkpoint.vector("\(prefix)\(name).bias", count: C),
            epsilon: configuration.normEpsilon)
    }

    /// A table of embeddings.
    func table(_ name: String, rows: Int) throws -> WeightMatrix {
        try checkpoint.weights(
            "\(prefix)\(name).weight", rows: rows, columns: configuration.hiddenSize)
    }
}
