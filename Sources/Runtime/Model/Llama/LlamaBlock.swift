import LorikeetQuant

/// One block: attention, then feed-forward, each added to the residual stream.
package struct LlamaBlock: Sendable {
    /// The first sublayer.
    let attention: LlamaAttention
    /// The second sublayer.
    let feedForward: LlamaFeedForward

    init(configuration: ModelConfiguration, reader: LlamaReader, layer: Int) throws {
        attention = try LlamaAttention(configuration: configuration, reader: reader, layer: layer)
        feedForward = try LlamaFeedForward(
            configuration: configuration, reader: reader, layer: layer)
    }

    /// The layer of this name.
    subscript(module: LinearModule) -> Linear {
        switch module {
        case .query: attention.query
        case .key: attention.key
        case .value: attention.value
        case .output: attention.output
        case .gate: feedForward.gate
        case .up: feedForward.up
        case .down: feedForward.down
        }
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
        let reachesAttention = propagates || pass.learns(.query, .key, .value, .output)
        feedForward.backward(
            d, x: kept.middle.pointer, kept: kept, propagates: reachesAttention, pass: pass)
        guard reachesAttention else { return }
        attention.backward(d, x: x, kept: kept, propagates: propagates, pass: pass)
    }
}
