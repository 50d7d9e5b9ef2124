import LorikeetQuant

/// One block: attention, then feed-forward, each added to the residual stream.
package struct DecoderBlock: Sendable {
    /// The first sublayer.
    let attention: AttentionSublayer
    /// The second sublayer.
    let feedForward: FeedForwardSublayer

    init(configuration: ModelConfiguration, reader: DecoderReader, layer: Int) throws {
        attention = try AttentionSublayer(
            configuration: configuration, reader: reader, layer: layer)
        feedForward = try FeedForwardSublayer(
            configuration: configuration, reader: reader, layer: layer)
    }

    /// The linear layers, by their places.
    var linears: [Linear] {
        attention.projections.linears + [attention.output] + feedForward.projections.linears
            + [feedForward.down]
    }

    /// - x: [tokens, hidden]
    /// - output: [tokens, hidden]; may be `x`.
    /// - kept: what `backward` will need.
    func forward(
        _ x: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>,
        keeping kept: BlockActivations, pass: ForwardContext
    ) {
        let middle = kept.middle.pointer
        attention.forward(x, into: middle, keeping: kept, pass: pass)
        feedForward.forward(middle, into: output, keeping: kept, pass: pass)
    }

    /// Adds the factors' gradients, and turns the gradient of the output into that of `x`.
    ///
    /// - d: the gradient of the output, becomes that of `x` if `propagates` [tokens, hidden].
    /// - propagates: false in the lowest block that learns: nothing below wants the gradient.
    func backward(
        _ d: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, kept: BlockActivations,
        propagates: Bool, pass: BackwardContext
    ) {
        let reachesAttention = propagates || pass.learns(.attentionInputs, .attentionOutput)
        feedForward.backward(
            d, x: kept.middle.pointer, kept: kept, propagates: reachesAttention, pass: pass)
        guard reachesAttention else { return }
        attention.backward(d, x: x, kept: kept, propagates: propagates, pass: pass)
    }
}
