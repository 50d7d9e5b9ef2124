import LorikeetQuant

extension EncoderPass {
    /// Bytes that a training pass allocates.
    ///
    /// - Parameters:
    ///   - configuration: the model's.
    ///   - dimensions: as of a decoder's pass; what concerns logits of a vocabulary is passed over.
    /// - Returns: the sum of activations, scratch and what attention and linear layers work with.
    public static func memory(
        _ configuration: EncoderConfiguration, _ dimensions: TrainingPass.Dimensions
    ) -> Int {
        let tokens = dimensions.tokens
        let positions = configuration.relativePositions?.count ?? 0
        let used = configuration.relativePositions?.rows(forLength: dimensions.longestRow).count
        let widest = max(configuration.hiddenSize, configuration.intermediateSize)
        let width = Buffer<Float>.memory(tokens * configuration.hiddenSize)
        let scores = BidirectionalAttention.scratchCount(
            longest: dimensions.longestRow, positions: used ?? 0)
        return (configuration.layerCount + 2) * width
            + ActivationStore<EncoderActivations>.memory(
                configuration, tokens: tokens, recomputes: dimensions.recomputesBlocks,
                precision: dimensions.precision)
            + dimensions.threads * Buffer<Float>.memory(scores)
            + LinearScratch.memory(
                tokens: max(tokens, positions), rank: dimensions.rank, outputs: widest,
                inputs: dimensions.dropsInputs ? widest : 0,
                scaledOutputs: dimensions.scalesOutputs ? widest : 0)
            + EncoderScratch.memory(configuration, tokens: tokens)
            + EncoderBackwardScratch.memory(configuration, tokens: tokens)
            + (dimensions.precision == .fp32
                ? 0 : Activations.memory(count: max(tokens, positions), columns: widest))
            + Compute.memory(threads: dimensions.threads)
    }
}
