public import LorikeetQuant

/// An adapter packed for inference: its factors as the products read them, found by an index.
///
/// Made once, off the path of requests, and shared by all that use the adapter. Later changes of the
/// adapter's factors do not show.
public final class PackedDeltas: Sendable {
    /// Bytes of all factors and output scales, and of an output projection that is held in another form.
    public let memory: Int
    /// What the adapter brings whole; nil for nothing.
    let saved: SavedModules?
    /// Whether it has an output projection of its own.
    public var bringsOutput: Bool { saved?.output != nil }
    // [layers, places]
    private let factors: [LowRankFactors?]
    private let places: Int

    /// Packs the terms that `deltas` has in a model of these dimensions, on the calling thread alone.
    ///
    /// - compute: whose precision: factors are floats in fp32, bytes otherwise.
    public convenience init(
        _ deltas: any LowRankDeltas, for model: ModelConfiguration, on compute: Compute
    ) {
        self.init(
            deltas, for: model.modules, saved: SavedModules(deltas, for: model, on: compute),
            on: compute)
    }

    /// Packs the terms that `deltas` has at `modules`, on the calling thread alone.
    public convenience init(
        _ deltas: any LowRankDeltas, for modules: BlockModules, on compute: Compute
    ) {
        self.init(deltas, for: modules, saved: nil, on: compute)
    }

    private init(
        _ deltas: any LowRankDeltas, for modules: BlockModules, saved: SavedModules?,
        on compute: Compute
    ) {
        self.saved = saved
        let terms = (0..<modules.layerCount).flatMap { layer in
            modules.entries.map { entry in
                let path = ModulePath(layer: layer, module: entry.module)
                return Self.checked(deltas.delta(at: path), entry)
            }
        }
        let bytes = terms.reduce(0) { sum, delta in
            guard let delta else { return sum }
            return sum
                + LowRankFactors.bytes(
                    rank: delta.rank, inputs: delta.a.count / delta.rank,
                    outputs: delta.b.count / delta.rank, precision: compute.precision)
        }
        let shared = TileMemory(pieceBytes: bytes)
        factors = terms.map { delta in
            delta.map {
                LowRankFactors(
                    a: $0.a, b: $0.b, rank: $0.rank, scale: $0.scale,
                    outputScale: $0.outputScale, in: shared, on: compute)
            }
        }
        places = modules.entries.count
        memory = factors.reduce(saved?.memory ?? 0) { $0 + ($1?.memory ?? 0) }
    }

    private static func checked(
        _ delta: LowRankDelta?, _ shape: BlockModules.Entry
    ) -> LowRankDelta? {
        guard let delta else { return nil }
        precondition(
            delta.a.count == delta.rank * shape.inputs
                && delta.b.count == delta.rank * shape.outputs,
            "factors of \(delta.a.count) and \(delta.b.count) at rank \(delta.rank) over \(shape.outputs) × \(shape.inputs)"
        )
        return delta
    }

    /// The factors of the layer's module at `place`, or nil where the adapter or the model has none.
    subscript(layer: Int, place: Int) -> LowRankFactors? {
        let index = layer * places + place
        return index < factors.count ? factors[index] : nil
    }
}

/// Consecutive rows of a pass with one adapter.
struct AdaptedRows {
    /// The adapter.
    let adapter: PackedDeltas
    /// The rows.
    var rows: Range<Int>
}
