import LorikeetQuant

/// A linear layer of an encoder's blocks, with what adapters know it by.
package struct EncoderLinear: Sendable {
    /// The layer and its bias.
    let linear: Linear
    /// Its name.
    let module: LinearModule
    /// Its place among the layers of a block.
    let place: Int

    /// Creates the layer of this name in a block of `modules`.
    init(_ linear: Linear, as module: LinearModule, in modules: BlockModules) {
        guard let place = modules.all.firstIndex(of: module) else {
            preconditionFailure("the blocks have no \(module.path)")
        }
        (self.linear, self.module, self.place) = (linear, module, place)
    }

    /// Width of its output.
    var outputs: Int { linear.weight.rows }
}
