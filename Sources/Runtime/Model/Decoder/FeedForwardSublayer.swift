import LorikeetQuant

/// The feed-forward sublayer of a block: output = x + D(σ(G(n)) ⊙ U(n)), n = norm(x), σ the activation.
///
/// Where a model has one, what is added goes through a norm.
package struct FeedForwardSublayer: Sendable {
    /// Before the projections.
    let norm: RMSNorm
    /// G and U.
    let projections: InputProjections
    /// [hidden, intermediate].
    let down: Linear
    /// Behind the output.
    private let resultNorm: ResultNorm?
    private let activation: GatedActivation

    init(configuration: ModelConfiguration, reader: DecoderReader, layer: Int) throws {
        let I = configuration.intermediateSize
        let block = "model.layers.\(layer)"
        let hasResultNorm = configuration.normalizesResults
        norm = try reader.norm(
            hasResultNorm
                ? "\(block).pre_feedforward_layernorm" : "\(block).post_attention_layernorm")
        resultNorm = try ResultNorm(
            hasResultNorm ? "\(block).post_feedforward_layernorm" : nil, reader)
        activation = configuration.activation
        projections = try InputProjections(
            .feedForwardInputs, widths: [I, I], reader: reader, layer: layer)
        down = try reader.linears(layer, .feedForwardOutput)[0]
    }

    /// - x: [tokens, hidden]
    /// - output: [tokens, hidden]; may be `x`.
    /// - kept: receives gate and up.
    func forward(
        _ x: UnsafePointer<Float>, into output: UnsafeMutablePointer<Float>,
        keeping kept: BlockActivations, pass: ForwardContext
    ) {
        activate(x, keeping: kept, pass: pass)
        if output != x { output.update(from: x, count: pass.batch.count * norm.weight.count) }
        addOutput(to: output, keeping: kept, pass: pass)
    }

    /// Everything before the output projection: the scratch's `h` from x.
    ///
    /// - x: [tokens, hidden]
    func activate(_ x: UnsafePointer<Float>, keeping kept: BlockActivations, pass: ForwardContext) {
        let (n, scratch, compute) = (pass.batch.count, pass.scratch, pass.compute)
        let normed = scratch.normed.pointer
        norm.forward(
            x, count: n, into: normed, inverseRMS: scratch.inverseRMS.pointer, on: compute)
        projections.forward(
            normed, into: { i in (i == 0 ? kept.gate : kept.up).pointer }, pass: pass)
        activation.forward(
            gate: kept.gate.pointer, up: kept.up.pointer, count: n * down.weight.columns,
            into: scratch.h.pointer, on: compute)
    }

    /// output += D(the scratch's `h`), through the norm where there is one.
    ///
    /// - output: [tokens, hidden]
    func addOutput(
        to output: UnsafeMutablePointer<Float>, keeping kept: BlockActivations,
        pass: ForwardContext
    ) {
        let h = pass.scratch.h.pointer
        guard let resultNorm else {
            return pass.apply(down, .feedForwardOutput, to: h, into: output, accumulate: true)
        }
        let result = kept.feedForwardResult.pointer
        pass.apply(down, .feedForwardOutput, to: h, into: result)
        resultNorm.forward(result, addingTo: output, pass: pass)
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
        activation.forward(
            gate: kept.gate.pointer, up: kept.up.pointer, count: count, into: h, on: compute)
        let reachesProjections = propagates || pass.learns(.feedForwardInputs)
        let dh = scratch.dh.pointer
        let dResult =
            resultNorm?.backward(d, r: kept.feedForwardResult.pointer, pass: pass)
            ?? UnsafePointer(d)
        pass.apply(
            down, .feedForwardOutput, to: dResult, x: h, into: reachesProjections ? dh : nil)
        guard reachesProjections else { return }
        activation.backward(
            dh, gate: kept.gate.pointer, up: kept.up.pointer, count: count, on: compute)
        let (normed, rho) = (
            forward.scratch.normed.pointer, forward.scratch.inverseRMS.pointer
        )
        norm.forward(x, count: n, into: normed, inverseRMS: rho, on: compute)
        let dNormed = propagates ? scratch.dNormed.pointer : nil
        projections.backward(
            { i in UnsafePointer((i == 0 ? kept.gate : kept.up).pointer) }, x: normed,
            into: dNormed, pass: pass)
        if let dNormed {
            norm.backward(
                dNormed, x: x, inverseRMS: rho, count: n, addingTo: d, on: compute)
        }
    }
}
