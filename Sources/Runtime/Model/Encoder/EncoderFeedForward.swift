import LorikeetQuant

/// The feed-forward sublayer of an encoder block: s' = m + D(gelu(U(m))), m = N(a).
struct EncoderFeedForward: Sendable {
    /// N.
    let norm: LayerNorm
    /// [intermediate, hidden].
    let up: EncoderLinear
    /// [hidden, intermediate].
    let down: EncoderLinear

    init(configuration: EncoderConfiguration, reader: EncoderReader, layer: Int) throws {
        norm = try reader.norm("encoder.layer.\(layer).attention.output.LayerNorm")
        up = try reader.linear(layer, configuration.up)
        down = try reader.linear(layer, configuration.down)
    }

    /// - s: receives s' [tokens, hidden].
    /// - kept: a in `middle`; receives `up`.
    func forward(
        into s: UnsafeMutablePointer<Float>, keeping kept: EncoderActivations, pass: EncoderContext
    ) {
        let (scratch, compute) = (pass.scratch, pass.compute)
        let (m, h) = (scratch.normed.pointer, scratch.h.pointer)
        norm.forward(
            kept.middle.pointer, count: pass.count, into: m, scratch.statistics, on: compute)
        pass.apply(up, to: m, into: kept.up.pointer)
        GELU.forward(kept.up.pointer, count: pass.count * up.outputs, into: h, on: compute)
        s.update(from: m, count: pass.count * norm.weight.count)
        pass.apply(down, to: h, into: s, accumulate: true)
    }

    /// Adds the factors' gradients, and turns the gradient of s' into that of a.
    ///
    /// - d: the gradient of s', becomes that of a if `propagates` [tokens, hidden].
    /// - propagates: false where nothing below learns.
    func backward(
        _ d: UnsafeMutablePointer<Float>, kept: EncoderActivations, propagates: Bool,
        adapter: any TrainableLowRankDeltas, scratch: EncoderBackwardScratch, pass: EncoderContext
    ) {
        let (compute, n) = (pass.compute, pass.count)
        let (m, h, dh) = (
            pass.scratch.normed.pointer, pass.scratch.h.pointer, scratch.dh.pointer
        )
        let reachesUp = propagates || pass.learns(adapter, up)
        GELU.forward(kept.up.pointer, count: n * up.outputs, into: h, on: compute)
        pass.backward(down, adapter, of: d, x: h, into: reachesUp ? dh : nil)
        guard reachesUp else { return }
        GELU.backward(dh, x: kept.up.pointer, count: n * up.outputs, on: compute)
        let statistics = pass.scratch.statistics
        norm.forward(kept.middle.pointer, count: n, into: m, statistics, on: compute)
        pass.backward(up, adapter, of: dh, x: m, into: propagates ? d : nil, accumulate: true)
        if propagates {
            norm.backward(d, x: kept.middle.pointer, statistics, count: n, on: compute)
        }
    }
}
