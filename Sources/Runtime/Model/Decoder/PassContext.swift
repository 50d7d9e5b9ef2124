import LorikeetQuant

/// What a block's forward pass works with besides its weights and activations.
struct ForwardContext {
    let batch: Batch
    /// The linear layers of a block.
    let modules: BlockModules
    /// The low-rank terms of all rows.
    var adapter: (any LowRankDeltas)?
    /// Or terms of some, by adapter.
    var adaptedRows: [AdaptedRows] = []
    let rotary: Rotations
    let scratch: ForwardScratch
    let compute: Compute
    /// The share of their inputs that the adapter's terms do not see, and what it follows from.
    var dropout: (probability: Double, keys: NoiseKeys)?
    /// The block's index, for its adapter's terms and its cache.
    var layer = 0
    /// Told of what linear layers read, if someone wants to know.
    var observer: InputObserver?

    /// y (+)= W x and the adapter's term, if it has one here: a product of one layer.
    func apply(
        _ linear: Linear, _ product: BlockProduct, to x: UnsafePointer<Float>,
        into y: UnsafeMutablePointer<Float>, accumulate: Bool = false
    ) {
        let place = modules.products[product.rawValue].lowerBound
        observer?([path(place)], x, batch.count, linear.weight.columns)
        guard adaptedRows.isEmpty else {
            return linear.forward(
                x, count: batch.count, terms: terms(product), accumulate: accumulate, into: y,
                scratch: scratch.linear, on: compute)
        }
        linear.forward(
            x, count: batch.count, delta: delta(place), dropout: dropout(place),
            accumulate: accumulate, into: y, scratch: scratch.linear, on: compute)
    }

    /// The same for layers with one input.
    func apply(
        _ group: LinearGroup, _ product: BlockProduct, to x: UnsafePointer<Float>,
        into y: (Int) -> UnsafeMutablePointer<Float>
    ) {
        let places = modules.products[product.rawValue]
        observer?(places.map(path), x, batch.count, group.columns)
        guard adaptedRows.isEmpty else {
            return group.forward(
                x, count: batch.count, terms: terms(product), into: y, scratch: scratch.linear,
                on: compute)
        }
        let first = places.lowerBound
        group.forward(
            x, count: batch.count, delta: { delta(first + $0) },
            dropout: { dropout(first + $0) }, into: y, scratch: scratch.linear, on: compute)
    }

    /// The dropout of a layer's low-rank term.
    func dropout(_ place: Int) -> Dropout? {
        dropout.map {
            Dropout(
                probability: $0.probability, keys: $0.keys,
                place: NoiseKeys.place(layer: layer, place: place, of: modules))
        }
    }

    // The terms of a product.
    private func terms(_ product: BlockProduct) -> LowRankProduct {
        let terms = scratch.linear.terms
        terms.removeAll()
        let places = modules.products[product.rawValue]
        for place in places {
            for group in adaptedRows {
                guard let factors = group.adapter[layer, place] else { continue }
                terms.append(factors, to: place - places.lowerBound, rows: group.rows)
            }
        }
        // Those of the next product; none behind the last.
        let isLast = product.rawValue + 1 == modules.products.count
        let next = isLast ? (layer + 1, 0) : (layer, product.rawValue + 1)
        for group in adaptedRows {
            for place in modules.products[next.1] {
                if let factors = group.adapter[next.0, place] { terms.expect(factors) }
            }
        }
        return terms
    }

    private func delta(_ place: Int) -> LowRankDelta? {
        adapter?.delta(at: path(place))
    }

    /// The name of the block's layer at `place`.
    func path(_ place: Int) -> ModulePath {
        ModulePath(layer: layer, module: modules.entries[place].module)
    }
}

/// What a block's backward pass works with besides its weights and activations.
struct BackwardContext {
    var forward: ForwardContext
    let adapter: any TrainableLowRankDeltas
    let scratch: BackwardScratch

    /// Whether a layer of one of these products of the block has factors that learn.
    func learns(_ products: BlockProduct...) -> Bool {
        products.contains { product in
            forward.modules.products[product.rawValue].contains {
                adapter.gradient(at: forward.path($0)) != nil
            }
        }
    }

    /// The factors' gradients, and dx (+)= Wᵀ dy with the adapter's term unless `dx` is nil.
    ///
    /// - index: which of the product's layers.
    func apply(
        _ linear: Linear, _ product: BlockProduct, _ index: Int = 0, to dy: UnsafePointer<Float>,
        x: UnsafePointer<Float>, into dx: UnsafeMutablePointer<Float>?, accumulate: Bool = false
    ) {
        let place = forward.modules.products[product.rawValue].lowerBound + index
        let path = forward.path(place)
        linear.backward(
            dy, x: x, count: forward.batch.count, delta: adapter.delta(at: path),
            dropout: forward.dropout(place), gradient: adapter.gradient(at: path), into: dx,
            accumulate: accumulate, scratch: forward.scratch.linear, on: forward.compute)
    }
}
