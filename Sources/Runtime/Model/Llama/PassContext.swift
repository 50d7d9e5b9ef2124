import LorikeetQuant

/// What a block's forward pass works with besides its weights and activations.
struct ForwardContext {
    let batch: Batch
    let adapter: (any LowRankDeltas)?
    let rotary: RotaryEmbedding
    let scratch: ForwardScratch
    let compute: Compute
    /// The block's index, for its adapter's terms and its cache.
    var layer = 0

    /// y = W x and the adapter's term, if it has one here.
    func apply(
        _ linear: Linear, _ module: LinearModule, to x: UnsafePointer<Float>,
        into y: UnsafeMutablePointer<Float>
    ) {
        linear.forward(
            x, count: batch.count,
            delta: adapter?.delta(at: ModulePath(layer: layer, module: module)), into: y,
            scratch: scratch.lowRank, on: compute)
    }
}

/// What a block's backward pass works with besides its weights and activations.
struct BackwardContext {
    var forward: ForwardContext
    let adapter: any TrainableLowRankDeltas
    let scratch: BackwardScratch

    /// Whether one of these modules of the block has factors that learn.
    func learns(_ modules: LinearModule...) -> Bool {
        modules.contains {
            adapter.gradient(at: ModulePath(layer: forward.layer, module: $0)) != nil
        }
    }

    /// The factors' gradients, and dx (+)= Wᵀ dy with the adapter's term unless `dx` is nil.
    func apply(
        _ linear: Linear, _ module: LinearModule, to dy: UnsafePointer<Float>,
        x: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>?, accumulate: Bool = false
    ) {
        let path = ModulePath(layer: forward.layer, module: module)
        linear.backward(
            dy, x: x, count: forward.batch.count, delta: adapter.delta(at: path),
            gradient: adapter.gradient(at: path), into: dx, accumulate: accumulate,
            scratch: forward.scratch.lowRank, on: forward.compute)
    }
}
