import LorikeetQuant
import QuantKernels

/// A frozen linear layer with a bias, beside its low-rank term: y = c ⊙ (W x + s B (A x)) + b.
package struct BiasedLinear: Sendable {
    /// The layer without its bias.
    let linear: Linear
    /// b [out].
    let bias: Buffer<Float>
    /// Its name and its place among the layers of a block.
    let module: LinearModule
    let place: Int

    /// Creates the layer of this name in a block of `modules`.
    init(
        _ linear: Linear, bias: Buffer<Float>, as module: LinearModule, in modules: BlockModules
    ) {
        guard let place = modules.all.firstIndex(of: module) else {
            preconditionFailure("the blocks have no \(module.path)")
        }
        (self.linear, self.bias, self.module, self.place) = (linear, bias, module, place)
    }

    /// Y += b.
    ///
    /// - y: [count, out]
    func addBias(to y: UnsafeMutablePointer<Float>, count: Int, on compute: Compute) {
        let O = bias.count
        compute.pool.split(count) { _, begin, end in
            for row in begin..<end { compute.kernels.axpy(1, bias.pointer, O, y + row * O) }
        }
    }
}
