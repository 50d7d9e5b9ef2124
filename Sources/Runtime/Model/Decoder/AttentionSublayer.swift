import LorikeetQuant

/// The attention sublayer of a block: middle = x + O(attention(Q(n), K(n), V(n))), n = norm(x).
///
/// Where a model has more norms, queries, keys and what is added go through theirs.
package struct AttentionSublayer: Sendable {
    /// Before the projections.
    let norm: RMSNorm
    /// Q, K and V.
    let projections: InputProjections
    /// [hidden, heads · headSize].
    let output: Linear
    /// Behind the output.
    private let resultNorm: ResultNorm?
    /// Of queries and keys.
    private let headNorms: HeadNorms?
    private let attention: Attention
    private let isLocal: Bool

    init(configuration: ModelConfiguration, reader: DecoderReader, layer: Int) throws {
        let (Q, K) = (configuration.queryWidth, configuration.keyWidth)
        let block = "model.layers.\(layer)"
        norm = try reader.norm("\(block).input_layernorm")
        resultNorm = try ResultNorm(
            configuration.normalizesResults ? "\(block).post_attention_layernorm" : nil, reader)
        headNorms = try HeadNorms(configuration, reader, layer: layer)
        projections = try InputProjections(
            .attentionInputs, widths: [Q, K, K], reader: reader, layer: layer)
        output = try reader.linears(layer, .attentionOutput)[0]
        attention = Attention(
            heads: configuration.headCount, keyValueHeads: configuration.keyValueHeadCount,
            headSize: configuration.headSize, scores: configuration.attentionScores(of: layer))
        isLocal = configuration.localLayers.contains(layer)
    }

    /// - x: [tokens, hidden]
    /// - middle: [tokens, hidden]; may be `x`.
    /// - kept: receives q, k, v and the attention's result.
    func forward(
        _ x: UnsafePointer<Float>, into middle: UnsafeMutablePointer<Float>,
        keeping kept: BlockActivations, pass: ForwardContext
    ) {
        attend(x, keeping: kept, pass: pass)
        if middle != x { middle.update(from: x, count: pass.batch.count * norm.weight.count) }
        addOutput(to: middle, keeping: kept, pass: pass)
    }

    /// Everything before the output projection: `kept.attended` from x.
    ///
    /// - x: [tokens, hidden]
    func attend(_ x: UnsafePointer<Float>, keeping kept: BlockActivations, pass: ForwardContext) {
        let (n, scratch, compute) = (pass.batch.count, pass.scratch, pass.compute)
        let normed = scratch.normed.pointer
        norm.forward(
            x, count: n, into: normed, inverseRMS: scratch.inverseRMS.pointer, on: compute)
        let (q, k) = headNorms == nil ? (kept.q, kept.k) : (kept.rawQ, kept.rawK)
        projections.forward(
            normed, into: { i in (i == 0 ? q : i == 1 ? k : kept.v).pointer }, pass: pass)
        headNorms?.forward(kept, pass: pass)
        rotate(kept.q.pointer, kept.k.pointer, pass, pass.rotary[isLocal: isLocal].forward)
        attend(kept, pass)
    }

    /// middle += O(`kept.attended`), through the norm where there is one.
    ///
    /// - middle: [tokens, hidden]
    func addOutput(
        to middle: UnsafeMutablePointer<Float>, keeping kept: BlockActivations,
        pass: ForwardContext
    ) {
        guard let resultNorm else {
            return pass.apply(
                output, .attentionOutput, to: kept.attended.pointer, into: middle,
                accumulate: true)
        }
        let result = kept.attentionResult.pointer
        pass.apply(output, .attentionOutput, to: kept.attended.pointer, into: result)
        resultNorm.forward(result, addingTo: middle, pass: pass)
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
        let dResult =
            resultNorm?.backward(d, r: kept.attentionResult.pointer, pass: pass)
            ?? UnsafePointer(d)
        pass.apply(
            output, .attentionOutput, to: dResult, x: kept.attended.pointer,
            into: reachesProjections ? scratch.dAttended.pointer : nil)
        guard reachesProjections else { return }
        var (dq, dk) = (scratch.dq.pointer, scratch.dk.pointer)
        let dv = scratch.dv.pointer
        attention.backward(
            spans(kept, forward), dOut: scratch.dAttended.pointer, q: kept.q.pointer, dq: dq,
            dk: dk, dv: dv, scratch: forward.scratch.scores, on: compute)
        rotate(dq, dk, forward, forward.rotary[isLocal: isLocal].backward)
        if let headNorms {
            (dq, dk) = headNorms.backward(dq: dq, dk: dk, kept: kept, pass: pass)
        }
        let (normed, rho) = (
            forward.scratch.normed.pointer, forward.scratch.inverseRMS.pointer
        )
        norm.forward(x, count: n, into: normed, inverseRMS: rho, on: compute)
        let dNormed = propagates ? scratch.dNormed.pointer : nil
        projections.backward(
            { [dq, dk] i in UnsafePointer(i == 0 ? dq : i == 1 ? dk : dv) }, x: normed,
            into: dNormed,
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
        pass.scratch.cachedAttention.forward(
            cached, scores: attention.scores, q: q, into: o, on: pass.compute)
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
