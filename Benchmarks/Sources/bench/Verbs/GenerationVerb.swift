import LorikeetQuant
import LorikeetRuntime

/// Reading a prompt of 512 tokens and decoding, in every precision.
func measureGeneration(_ checkpoint: any Checkpoint, _ precision: Precision) throws -> [Row] {
    let compute = Compute(precision: precision)
    let model = try DecoderModel(checkpoint: checkpoint, on: compute)
    let ceiling = Ceiling(compute)
    var options = SpeedTest.Options()
    options.decode = 128
    options.prefill = 512
    let test = try SpeedTest(model, options: options, on: compute)
    options.prefill = 0
    options.depth = 2048
    let deep = try SpeedTest(model, options: options, on: compute)
    func decoding(_ name: String, _ test: SpeedTest) -> Row {
        Row(
            "\(name), \(precision)", on: compute, test.decodeTokensPerSecond, "tokens/s",
            ceiling: test.bandwidth / Double(test.bytesPerToken))
    }
    return [
        Row(
            "prefill 512, \(precision)", on: compute, test.prefillTokensPerSecond, "tokens/s",
            // Of a prompt the last token alone is projected onto the vocabulary.
            ceiling: ceiling.operations(precision) / Double(2 * model.blockWeights)),
        decoding("decode", test), decoding("decode behind 2048", deep),
    ]
}

extension DecoderModel {
    /// Weights of all blocks' linear layers.
    var blockWeights: Int {
        configuration.layerCount
            * configuration.modules.entries.reduce(0) { $0 + $1.outputs * $1.inputs }
    }
}
