import LorikeetQuant
import QuantKernels

/// A norm of what a sublayer adds to the residual stream (Gemma): y += norm(r).
struct ResultNorm: Sendable {
    private let norm: RMSNorm

    /// The norm of this name; nil where a model has none.
    init?(_ name: String?, _ reader: DecoderReader) throws {
        guard let name else { return nil }
        norm = try reader.norm(name)
    }

    /// - r: [tokens, hidden]
    /// - y: [tokens, hidden]
    func forward(
        _ r: UnsafePointer<Float>, addingTo y: UnsafeMutablePointer<Float>, pass: ForwardContext
    ) {
        let (C, normed) = (norm.weight.count, pass.scratch.normed.pointer)
        norm.forward(
            r, count: pass.batch.count, into: normed, inverseRMS: pass.scratch.inverseRMS.pointer,
            on: pass.compute)
        pass.compute.pool.split(pass.batch.count) { _, begin, end in
            pass.compute.kernels.axpy(1, normed + begin * C, (end - begin) * C, y + begin * C)
        }
    }

    /// The gradient of r, from that of y.
    ///
    /// - d: the gradient of y [tokens, hidden].
    /// - r: the forward pass's [tokens, hidden].
    /// - Returns: [tokens, hidden], in the scratch of normalized inputs' gradients.
    func backward(
        _ d: UnsafePointer<Float>, r: UnsafePointer<Float>, pass: BackwardContext
    ) -> UnsafePointer<Float> {
        let (n, scratch, compute) = (
            pass.forward.batch.count, pass.forward.scratch, pass.forward.compute
        )
        let dr = pass.scratch.dNormed.pointer
        norm.forward(
            r, count: n, into: scratch.normed.pointer, inverseRMS: scratch.inverseRMS.pointer,
            on: compute)
        dr.update(repeating: 0, count: n * norm.weight.count)
        norm.backward(
            d, x: r, inverseRMS: scratch.inverseRMS.pointer, count: n, addingTo: dr, on: compute)
        return UnsafePointer(dr)
    }
}
