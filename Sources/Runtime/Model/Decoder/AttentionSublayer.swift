import LorikeetQuant

/// The attention sublayer of a block: middle = x + O(attention(Q(n), K(n), V(n))), n = norm(x).
package struct AttentionSublayer: Sendable {
    /// Before the projections.
    let norm: RMSNorm
    /// Q, K and V.
    let projections: InputProjections
    /// [hidden, heads · headSize].
    let output: Linear
    private let attention: Attention

    init(configuration: ModelConfiguration, reader: DecoderReader, layer: Int) throws {
        let (Q, K) = (configuration.queryWidth, configuration.keyWidth)
        norm = try reader.norm("model.layers.\(layer).input_layernorm")
        projections = try InputProjections(
            .attentionInputs, widths: [Q, K, K], reader: reader, layer: layer)
        output = try reader.linears(layer, .attentionOutput)[0]
        attention = Attention(
            heads: configuration.headCount, keyValueHeads: configuration.keyValueHeadCount,
            headSize: configuration.headSize)
    }

    /// - x: [tokens, hidden]
    /// - middle: [tokens, hidden]; may be `x`.
    /// - kept: receives q, k, v and the attention's result.
    func forward(
        _ x: UnsafePointer<Float>, into middle: UnsafeMutablePointer<Float>,
        keeping kept: BlockActivations, pass: ForwardContext
    ) {
        let (n, scratch, compute) = (pass.batch.count, pass.scratch, pass.compute)
        let normed = scratch.normed.pointer
        norm.forward(
            x, count: n, into: normed, inverseRMS: scratch.inverseRMS.pointer, on: compute)
        projections.forward(
            normed, into: { i in (i == 0 ? kept.q : i == 1 ? kept.k : kept.v).pointer }, pass: pass)
        rotate(kept.q.pointer, kept.k.pointer, pass, pass.rotary.forward)
        attend(kept, pass)
        if middle != x { middle.update(from: x, count: n * norm.weight.count) }
        pass.apply(
            output, .attentionOutput, to: kept.attended.pointer, into: middle, accumulate: true)
    }

    /// Adds the factors' gradients, and turns the gradient of `middle` into that of `x`.
    ///
    /// - d: the gradient of `middle`, becomes that of `x` if `propagates` [tokens, hidden].
    /// - x: the sublayer's input [tokens, hidden].
    /// - propagates: false where nothing below learns.
    func backward(
        _ d: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, kept: BlockActivations,
        propagates: Bool, pass: BackwardContext
    ) {
        let (forward, scratch) = (pass.forward, pass.scratch)
        let (n, compute) = (forward.batch.count, forward.compute)
        let reachesProjections = propagates || pass.learns(.attentionInputs)
        pass.apply(
            output, .attentionOutput, to: d, x: kept.attended.pointer,
            into: reachesProjections ? scratch.dAttended.pointer : nil)
        guard reachesProjections else { return }
        let (dq, dk, dv) = (scratch.dq.pointer, scratch.dk.pointer, scratch.dv.pointer)
        attention.backward(
            spans(kept, forward), dOut: scratch.dAttended.pointer, q: kept.q.pointer, dq: dq,
            dk: dk, dv: dv, scratch: forward.scratch.scores, on: compute)
        rotate(dq, dk, forward, forward.rotary.backward)
        let (normed, rho) = (
            forward.scratch.normed.pointer, forward.scratch.inverseRMS.pointer
        )
        norm.forward(x, count: n, into: normed, inverseRMS: rho, on: compute)
        let dNormed = propagates ? scratch.dNormed.pointer : nil
        projections.backward(
            { i in UnsafePointer(i == 0 ? dq : i == 1 ? dk : dv) }, x: normed, into: dNormed,
            pass: pass)
        if let dNormed {
            norm.backward(
                dNormed, x: x, inverseRMS: rho, count: n, addingTo: d, on: compute)
        }
    }

    private func attend(_ kept: BlockActivations, _ pass: ForwardContext) {
        let (q, o) = (kept.q.pointer, kept.attended.pointer)
        pass.batch.writeCaches(
            layer: pass.layer, keys: kept.k.pointer, values: kept.v.pointer,
            width: attention.keyValueHeads * attention.headSize, on: pass.compute)
        attention.forward(
            spans(kept, pass), q: q, into: o, scratch: pass.scratch.scores, on: pass.compute)
        let cached = pass.batch.sequences.compactMap { sequence in
            sequence.cache?.halves(layer: pass.layer).map { kv in
                CachedAttention.Span(
                    start: sequence.start, count: sequence.count,
                    past: sequence.cache?.count ?? 0, kv: kv)
            }
        }
        pass.scratch.cachedAttention.forward(cached, q: q, into: o, on: pass.compute)
    }

    private func spans(_ kept: BlockActivations, _ pass: ForwardContext) -> [AttentionSpan] {
        pass.batch.spans(
            layer: pass.layer, keys: kept.k.pointer, values: kept.v.pointer,
            width: attention.keyValueHeads * attention.headSize)
    }

    private func rotate(
        _ q: UnsafeMutablePointer<Float>, _ k: UnsafeMutablePointer<Float>, _ pass: ForwardContext,
        _ rotation: (UnsafeMutablePointer<Float>, Int, UnsafePointer<Int32>, Int, Compute) -> Void
    ) {
        let (positions, n) = (UnsafePointer(pass.scratch.positions.pointer), pass.batch.count)
        rotation(q, attention.heads, positions, n, pass.compute)
        rotation(k, attention.keyValueHeads, positions, n, pass.compute)
    }
}
