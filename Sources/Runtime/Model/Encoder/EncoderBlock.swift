import LorikeetQuant

/// One block: attention, then feed-forward, each added to what it reads, which is normalized ("post-norm").
struct EncoderBlock: Sendable {
    /// The first sublayer.
    let attention: EncoderAttention
    /// The second sublayer.
    let feedForward: EncoderFeedForward

    init(configuration: EncoderConfiguration, reader: EncoderReader, layer: Int) throws {
        attention = try EncoderAttention(
            configuration: configuration, reader: reader, layer: layer)
        feedForward = try EncoderFeedForward(
            configuration: configuration, reader: reader, layer: layer)
    }

    /// The layers, in the order of a pass.
    var layers: [EncoderLinear] {
        [
            attention.query, attention.key, attention.value, attention.output, feedForward.up,
            feedForward.down,
        ]
    }

    /// - s: the sum below [tokens, hidden].
    /// - output: this block's sum, before its normalization [tokens, hidden].
    /// - kept: what `backward` will need.
    func forward(
        _ s: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>,
        keeping kept: EncoderActivations, pass: EncoderContext
    ) {
        attention.forward(s, keeping: kept, pass: pass)
        feedForward.forward(into: output, keeping: kept, pass: pass)
    }

    /// Adds the factors' gradients, and turns the gradient of the output into that of `s`.
    ///
    /// - d: the gradient of the output, becomes that of `s` if `propagates` [tokens, hidden].
    /// - propagates: false in the lowest block that learns: nothing below wants the gradient.
    func backward(
        _ d: UnsafeMutablePointer<Float>, s: UnsafePointer<Float>, kept: EncoderActivations,
        propagates: Bool, adapter: any TrainableLowRankDeltas, scratch: EncoderBackwardScratch,
        pass: EncoderContext
    ) {
        let reachesAttention =
            propagates
            || pass.learns(
                adapter, attention.query, attention.key, attention.value, attention.output)
        feedForward.backward(
            d, kept: kept, propagates: reachesAttention, adapter: adapter, scratch: scratch,
            pass: pass)
        guard reachesAttention else { return }
        attention.backward(
            d, s: s, kept: kept, propagates: propagates, adapter: adapter, scratch: scratch,
            pass: pass)
    }
}
