import LorikeetQuant

/// Norms of queries and keys before they are rotated, each head by itself (Qwen 3, Gemma 3).
struct HeadNorms: Sendable {
    // [headSize] each
    private let query: RMSNorm
    private let key: RMSNorm
    private let heads: Int
    private let keyValueHeads: Int

    /// The norms of block `layer`; nil where a model has none.
    init?(_ configuration: ModelConfiguration, _ reader: DecoderReader, layer: Int) throws {
        guard configuration.normalizesHeads else { return nil }
        let width = configuration.headSize
        query = try reader.norm("model.layers.\(layer).self_attn.q_norm", width: width)
        key = try reader.norm("model.layers.\(layer).self_attn.k_norm", width: width)
        heads = configuration.headCount
        keyValueHeads = configuration.keyValueHeadCount
    }

    /// q and k from what the projections gave.
    func forward(_ kept: BlockActivations, pass: ForwardContext) {
        let (n, rho) = (pass.batch.count, pass.scratch.inverseRMS.pointer)
        query.forward(
            kept.rawQ.pointer, count: n * heads, into: kept.q.pointer, inverseRMS: rho,
            on: pass.compute)
        key.forward(
            kept.rawK.pointer, count: n * keyValueHeads, into: kept.k.pointer, inverseRMS: rho,
            on: pass.compute)
    }

    /// The gradients of what the projections gave.
    ///
    /// Overwrites q and k, which attention's backward pass has read, and the gradient of what attention gave.
    ///
    /// - dq: the gradient of q before its rotation [tokens, heads · headSize]; dk likewise.
    /// - Returns: those of the projections' queries and keys.
    func backward(
        dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>, kept: BlockActivations,
        pass: BackwardContext
    ) -> (dq: UnsafeMutablePointer<Float>, dk: UnsafeMutablePointer<Float>) {
        let (forward, n) = (pass.forward, pass.forward.batch.count)
        let rho = forward.scratch.inverseRMS.pointer
        func differentiate(
            _ norm: RMSNorm, _ count: Int, _ dy: UnsafePointer<Float>, x: Buffer<Float>,
            y: Buffer<Float>, into dx: UnsafeMutablePointer<Float>
        ) {
            norm.forward(
                x.pointer, count: count, into: y.pointer, inverseRMS: rho, on: forward.compute)
            dx.update(repeating: 0, count: count * norm.weight.count)
            norm.backward(
                dy, x: x.pointer, inverseRMS: rho, count: count, addingTo: dx, on: forward.compute)
        }
        let rawQ = pass.scratch.dAttended.pointer
        differentiate(query, n * heads, dq, x: kept.rawQ, y: kept.q, into: rawQ)
        // There are no more keys than queries.
        differentiate(key, n * keyValueHeads, dk, x: kept.rawK, y: kept.k, into: dq)
        return (rawQ, dq)
    }
}
