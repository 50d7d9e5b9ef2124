import LorikeetQuant

/// What a block's forward pass works with besides its weights and activations.
struct ForwardContext {
    let batch: Batch
    /// The low-rank terms of all rows.
    var adapter: (any LowRankDeltas)?
    /// Or terms of some, by adapter.
    var adaptedRows: [AdaptedRows] = []
    let rotary: RotaryEmbedding
    let scratch: ForwardScratch
    let compute: Compute
    /// The share of their inputs that the adapter's terms do not see, and what it follows from.
    var dropout: (probability: Double, keys: NoiseKeys)?
    /// The block's index, for its adapter's terms and its cache.
    var layer = 0
    /// Told of what linear layers read, if someone wants to know.
    var observer: InputObserver?

    /// y (+)= W x and the adapter's term, if it has one here.
    func apply(
        _ linear: Linear, _ module: LinearModule, to x: UnsafePointer<Float>,
        into y: UnsafeMutablePointer<Float>, accumulate: Bool = false
    ) {
        observer?([path(module)], x, batch.count, linear.weight.columns)
        guard adaptedRows.isEmpty else {
            return linear.forward(
                x, count: batch.count, terms: terms([module]), accumulate: accumulate, into: y,
                scratch: scratch.linear, on: compute)
        }
        linear.forward(
            x, count: batch.count, delta: delta(module), dropout: dropout(module),
            accumulate: accumulate, into: y, scratch: scratch.linear, on: compute)
    }

    /// The same for layers with one input.
    func apply(
        _ group: LinearGroup, _ modules: [LinearModule], to x: UnsafePointer<Float>,
        into y: (Int) -> UnsafeMutablePointer<Float>
    ) {
        observer?(modules.map(path), x, batch.count, group.columns)
        guard adaptedRows.isEmpty else {
            return group.forward(
                x, count: batch.count, terms: terms(modules), into: y, scratch: scratch.linear,
                on: compute)
        }
        group.forward(
            x, count: batch.count, delta: { delta(modules[$0]) },
            dropout: { dropout(modules[$0]) }, into: y, scratch: scratch.linear, on: compute)
    }

    /// The dropout of a layer's low-rank term.
    func dropout(_ module: LinearModule) -> Dropout? {
        dropout.map {
            Dropout(
                probability: $0.probability, keys: $0.keys,
                place: NoiseKeys.place(ModulePath(layer: layer, module: module)))
        }
    }

    // The terms of modules with one input.
    private func terms(_ modules: [LinearModule]) -> LowRankProduct {
        let terms = scratch.linear.terms
        terms.removeAll()
        for (index, module) in modules.enumerated() {
            for group in adaptedRows {
                guard let factors = group.adapter[layer, module] else { continue }
                terms.append(factors, to: index, rows: group.rows)
            }
        }
        let next = next(after: modules[0])
        for group in adaptedRows {
            for module in next.modules {
                if let factors = group.adapter[next.layer, module] { terms.expect(factors) }
            }
        }
        return terms
    }

    // The modules of the next product; none behind the last.
    private func next(after module: LinearModule) -> (layer: Int, modules: [LinearModule]) {
        switch module {
        case .query, .key, .value: (layer, [.output])
        case .output: (layer, [.gate, .up])
        case .gate, .up: (layer, [.down])
        case .down: (layer + 1, [.query, .key, .value])
        }
    }

    private func delta(_ module: LinearModule) -> LowRankDelta? {
        adapter?.delta(at: path(module))
    }

    private func path(_ module: LinearModule) -> ModulePath {
        ModulePath(layer: layer, module: module)
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
            dropout: forward.dropout(module), gradient: adapter.gradient(at: path), into: dx,
            accumulate: accumulate, scratch: forward.scratch.linear, on: forward.compute)
    }
}
