import LorikeetQuant

/// The attention sublayer of an encoder block: a = x + O(attention(Q(x), K(x), V(x))), x = N(s).
///
/// s is the sum that the block below has left, or the embeddings; its normalization N belongs to what is below in
/// a checkpoint. Sums are kept, not what normalization makes of them, for its gradient needs them.
struct EncoderAttention: Sendable {
    /// N.
    let norm: LayerNorm
    /// [hidden, hidden], as all four.
    let query: EncoderLinear
    let key: EncoderLinear
    let value: EncoderLinear
    let output: EncoderLinear
    private let projections: LinearGroup
    private let attention: BidirectionalAttention

    init(configuration: EncoderConfiguration, reader: EncoderReader, layer: Int) throws {
        norm = try reader.norm(
            layer == 0 ? "embeddings.LayerNorm" : "encoder.layer.\(layer - 1).output.LayerNorm")
        query = try reader.linear(layer, configuration.query)
        key = try reader.linear(layer, configuration.key)
        value = try reader.linear(layer, configuration.value)
        output = try reader.linear(layer, configuration.output)
        projections = LinearGroup([query.linear, key.linear, value.linear])
        attention = BidirectionalAttention(
            heads: configuration.headCount, headSize: configuration.headSize)
    }

    /// - s: [tokens, hidden]
    /// - kept: receives q, k, v, the attention's result, and a in `middle`.
    func forward(
        _ s: UnsafePointer<Float>, keeping kept: EncoderActivations, pass: EncoderContext
    ) {
        let (scratch, middle) = (pass.scratch, kept.middle.pointer)
        let x = scratch.normed.pointer
        norm.forward(s, count: pass.count, into: x, scratch.statistics, on: pass.compute)
        pass.apply(
            [query, key, value], projections, to: x
        ) { i in
            (i == 0 ? kept.q : i == 1 ? kept.k : kept.v).pointer
        }
        attention.forward(
            pass.sequences, q: kept.q.pointer, k: kept.k.pointer, v: kept.v.pointer,
            positions: positions(pass), into: kept.attended.pointer, scratch: scratch.scores,
            on: pass.compute)
        middle.update(from: x, count: pass.count * norm.weight.count)
        pass.apply(output, to: kept.attended.pointer, into: middle, accumulate: true)
    }

    /// Adds the factors' gradients, and turns the gradient of a into that of s.
    ///
    /// - d: the gradient of a, becomes that of s if `propagates` [tokens, hidden].
    /// - s: the sublayer's input [tokens, hidden].
    /// - propagates: false where nothing below learns.
    func backward(
        _ d: UnsafeMutablePointer<Float>, s: UnsafePointer<Float>, kept: EncoderActivations,
        propagates: Bool, adapter: any TrainableLowRankDeltas, scratch: EncoderBackwardScratch,
        pass: EncoderContext
    ) {
        let (x, compute) = (pass.scratch.normed.pointer, pass.compute)
        let reachesProjections = propagates || pass.learns(adapter, query, key, value)
        pass.backward(
            output, adapter, of: d, x: kept.attended.pointer,
            into: reachesProjections ? scratch.dAttended.pointer : nil)
        guard reachesProjections else { return }
        let (dq, dk, dv) = (scratch.dq.pointer, scratch.dk.pointer, scratch.dv.pointer)
        let dPositions = pass.positions.map { _ in
            BidirectionalAttention.PositionGradients(
                keys: scratch.dPositionKeys.pointer, queries: scratch.dPositionQueries.pointer)
        }
        attention.backward(
            pass.sequences, dOut: scratch.dAttended.pointer, q: kept.q.pointer, k: kept.k.pointer,
            v: kept.v.pointer, positions: positions(pass), dq: dq, dk: dk, dv: dv,
            dPositions: dPositions, scratch: pass.scratch.scores, on: compute)
        norm.forward(s, count: pass.count, into: x, pass.scratch.statistics, on: compute)
        let dx = propagates ? d : nil
        pass.backward(query, adapter, of: dq, x: x, into: dx, accumulate: true)
        pass.backward(key, adapter, of: dk, x: x, into: dx, accumulate: true)
        pass.backward(value, adapter, of: dv, x: x, into: dx, accumulate: true)
        if let positions = pass.positions, let dPositions {
            let rows = positions.scheme.rows(forLength: pass.longest)
            pass.backward(
                ofProjecting: rows, of: positions, by: key, adapter, dPositions.keys)
            pass.backward(
                ofProjecting: rows, of: positions, by: query, adapter, dPositions.queries)
        }
        if propagates {
            norm.backward(d, x: s, pass.scratch.statistics, count: pass.count, on: compute)
        }
    }

    /// The keys and queries of positions, projected as those of tokens are (`share_att_key`).
    private func positions(_ pass: EncoderContext) -> BidirectionalAttention.Positions? {
        guard let positions = pass.positions else { return nil }
        let rows = positions.scheme.rows(forLength: pass.longest)
        let (keys, queries) = (
            pass.scratch.positionKeys.pointer, pass.scratch.positionQueries.pointer
        )
        pass.project(rows, of: positions, by: key, into: keys)
        pass.project(rows, of: positions, by: query, into: queries)
        return BidirectionalAttention.Positions(
            keys: keys, queries: queries, scheme: positions.scheme, longest: pass.longest)
    }
}
