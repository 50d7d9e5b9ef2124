import LorikeetQuant

/// The feed-forward sublayer of a block: output = x + D(silu(G(n)) ⊙ U(n)), n = norm(x).
package struct LlamaFeedForward: Sendable {
    /// Before the projections.
    let norm: RMSNorm
    /// [intermediate, hidden].
    let gate: Linear
    /// [intermediate, hidden].
    let up: Linear
    /// [hidden, intermediate].
    let down: Linear
    private let projections: LinearGroup

    init(configuration: ModelConfiguration, reader: LlamaReader, layer: Int) throws {
        let (C, I) = (configuration.hiddenSize, configuration.intermediateSize)
        norm = try reader.norm("model.layers.\(layer).post_attention_layernorm")
        gate = try reader.linear(layer, .gate, rows: I, columns: C)
        up = try reader.linear(layer, .up, rows: I, columns: C)
        down = try reader.linear(layer, .down, rows: C, columns: I)
        projections = LinearGroup([gate, up])
    }

    /// - x: [tokens, hidden]
    /// - output: [tokens, hidden]; may be `x`.
    /// - kept: receives gate and up.
    func forward(
        _ x: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>,
        keeping kept: BlockActivations, pass: ForwardContext
    ) {
        let (n, scratch, compute) = (pass.batch.count, pass.scratch, pass.compute)
        let normed = scratch.normed.pointer
        norm.forward(
            x, count: n, into: normed, inverseRMS: scratch.inverseRMS.pointer, on: compute)
        pass.apply(projections, [.gate, .up], to: normed) { i in
            (i == 0 ? kept.gate : kept.up).pointer
        }
        SwiGLU.forward(
            gate: kept.gate.pointer, up: kept.up.pointer, count: n * down.weight.columns,
            into: scratch.h.pointer, on: compute)
        if output != x { output.update(from: x, count: n * norm.weight.count) }
        pass.apply(down, .down, to: scratch.h.pointer, into: output, accumulate: true)
    }

    /// Adds the factors' gradients, and turns the gradient of the output into that of `x`.
    ///
    /// - d: the gradient of the output, becomes that of `x` if `propagates` [tokens, hidden].
    /// - x: the sublayer's input [tokens, hidden].
    /// - kept: gate and up, which become their gradients.
    /// - propagates: false where nothing below learns.
    func backward(
        _ d: UnsafeMutablePointer<Float>, x: UnsafePointer<Float>, kept: BlockActivations,
        propagates: Bool, pass: BackwardContext
    ) {
        let (forward, scratch) = (pass.forward, pass.scratch)
        let (n, compute) = (forward.batch.count, forward.compute)
        let h = forward.scratch.h.pointer
        let count = n * down.weight.columns
        SwiGLU.forward(
            gate: kept.gate.pointer, up: kept.up.pointer, count: count, into: h, on: compute)
        let reachesProjections = propagates || pass.learns(.gate, .up)
        let dh = scratch.dh.pointer
        pass.apply(down, .down, to: d, x: h, into: reachesProjections ? dh : nil)
        guard reachesProjections else { return }
        SwiGLU.backward(
            dh, gate: kept.gate.pointer, up: kept.up.pointer, count: count, on: compute)
        let (normed, rho) = (
            forward.scratch.normed.pointer, forward.scratch.inverseRMS.pointer
        )
        norm.forward(x, count: n, into: normed, inverseRMS: rho, on: compute)
        let dNormed = propagates ? scratch.dNormed.pointer : nil
        pass.apply(gate, .gate, to: kept.gate.pointer, x: normed, into: dNormed)
        pass.apply(up, .up, to: kept.up.pointer, x: normed, into: dNormed, accumulate: true)
        if let dNormed {
            norm.backward(
                dNormed, x: x, inverseRMS: rho, count: n, addingTo: d, on: compute)
        }
    }
}
