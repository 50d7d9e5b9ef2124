import LorikeetQuant

/// What an encoder block's passes work with besides its weights and activations.
struct EncoderContext {
    /// The rows of each sequence.
    let sequences: [Range<Int>]
    /// The low-rank terms.
    let adapter: (any LowRankDeltas)?
    /// The model's relative positions.
    let positions: EncoderPositions?
    let scratch: EncoderScratch
    let compute: Compute
    /// The share of their inputs that the adapter's terms do not see, and what it follows from: for tokens, and
    /// for positions.
    var dropout: (probability: Double, keys: NoiseKeys, positionKeys: NoiseKeys)?
    /// The layers of the blocks.
    let modules: BlockModules
    /// The block's index.
    var layer = 0

    /// All rows.
    var count: Int { sequences.last?.upperBound ?? 0 }

    /// Tokens of the longest sequence.
    var longest: Int { sequences.reduce(0) { max($0, $1.count) } }

    /// y (+)= W x + b and the adapter's term, if it has one here.
    func apply(
        _ layer: EncoderLinear, to x: UnsafePointer<Float>,
        into y: UnsafeMutablePointer<Float>, accumulate: Bool = false
    ) {
        layer.linear.forward(
            x, count: count, delta: delta(layer), dropout: dropout(layer, ofPositions: false),
            accumulate: accumulate, into: y, scratch: scratch.linear, on: compute)
    }

    /// The same for layers with one input.
    func apply(
        _ layers: [EncoderLinear], _ group: LinearGroup, to x: UnsafePointer<Float>,
        into y: (Int) -> UnsafeMutablePointer<Float>
    ) {
        group.forward(
            x, count: count, delta: { delta(layers[$0]) },
            dropout: { dropout(layers[$0], ofPositions: false) }, into: y,
            scratch: scratch.linear, on: compute)
    }

    /// The projection of relative positions by a layer that projects tokens too.
    ///
    /// - rows: which of the model's table.
    /// - y: [rows, hidden]
    func project(
        _ rows: Range<Int>, of positions: EncoderPositions, by layer: EncoderLinear,
        into y: UnsafeMutablePointer<Float>
    ) {
        layer.linear.forward(
            positions.row(rows.lowerBound), count: rows.count, delta: delta(layer),
            dropout: dropout(layer, ofPositions: true), into: y, scratch: scratch.linear,
            on: compute)
    }

    /// The factors' gradients, and dx (+)= Wᵀ dy with the adapter's term unless `dx` is nil.
    func backward(
        _ layer: EncoderLinear, _ adapter: any TrainableLowRankDeltas,
        of dy: UnsafePointer<Float>, x: UnsafePointer<Float>,
        into dx: UnsafeMutablePointer<Float>?, accumulate: Bool = false
    ) {
        layer.linear.backward(
            dy, x: x, count: count, delta: delta(layer),
            dropout: dropout(layer, ofPositions: false),
            gradient: adapter.gradient(at: path(layer)), into: dx, accumulate: accumulate,
            scratch: scratch.linear, on: compute)
    }

    /// The factors' gradients through the projection of relative positions.
    func backward(
        ofProjecting rows: Range<Int>, of positions: EncoderPositions, by layer: EncoderLinear,
        _ adapter: any TrainableLowRankDeltas, _ dy: UnsafePointer<Float>
    ) {
        guard let gradient = adapter.gradient(at: path(layer)) else { return }
        layer.linear.backward(
            dy, x: positions.row(rows.lowerBound), count: rows.count, delta: delta(layer),
            dropout: dropout(layer, ofPositions: true), gradient: gradient, into: nil,
            accumulate: false, scratch: scratch.linear, on: compute)
    }

    /// Whether one of these layers of the block has factors that learn.
    func learns(_ adapter: any TrainableLowRankDeltas, _ layers: EncoderLinear...) -> Bool {
        layers.contains { adapter.gradient(at: path($0)) != nil }
    }

    private func delta(_ layer: EncoderLinear) -> LowRankDelta? { adapter?.delta(at: path(layer)) }

    private func dropout(_ layer: EncoderLinear, ofPositions: Bool) -> Dropout? {
        dropout.map {
            Dropout(
                probability: $0.probability, keys: ofPositions ? $0.positionKeys : $0.keys,
                place: NoiseKeys.place(layer: self.layer, place: layer.place, of: modules))
        }
    }

    private func path(_ layer: EncoderLinear) -> ModulePath {
        ModulePath(layer: self.layer, module: layer.module)
    }
}

/// The table of relative positions, normalized where the model does so: the same for all blocks.
struct EncoderPositions: Sendable {
    let scheme: RelativePositions
    /// [scheme.count, hidden].
    let table: Buffer<Float>
    let width: Int

    func row(_ index: Int) -> UnsafePointer<Float> { UnsafePointer(table.pointer + index * width) }
}

/// Memory that every block of an encoder's passes uses in turn.
package final class EncoderScratch {
    /// The block's input, then its middle, normalized [tokens, hidden].
    let normed: Buffer<Float>
    /// The statistics of these.
    let statistics: LayerNorm.Statistics
    /// The activation of the feed-forward layer [tokens, intermediate].
    let h: Buffer<Float>
    /// An embedding [hidden].
    let embedding: Buffer<Float>
    /// Keys and queries of positions [positions, hidden]; empty without positions.
    let positionKeys: Buffer<Float>
    let positionQueries: Buffer<Float>
    /// What linear layers work with.
    let linear: LinearScratch
    /// Attention's, one a thread.
    private(set) var scores: [Buffer<Float>] = []
    private var scoreCount = 0
    private let threads: Int

    /// Allocates for batches of up to `tokens` rows.
    init(_ configuration: EncoderConfiguration, tokens: Int, on compute: Compute) {
        let (C, positions) = (configuration.hiddenSize, configuration.relativePositions?.count ?? 0)
        normed = Buffer(tokens * C)
        statistics = LayerNorm.Statistics(tokens)
        h = Buffer(tokens * configuration.intermediateSize)
        embedding = Buffer(C)
        positionKeys = Buffer(positions * C)
        positionQueries = Buffer(positions * C)
        // Positions go through the same layers as tokens.
        linear = LinearScratch(tokens: max(tokens, positions), on: compute)
        threads = compute.pool.count
    }

    /// Bytes for batches of up to `tokens` rows, less what attention and linear layers work with.
    static func memory(_ configuration: EncoderConfiguration, tokens: Int) -> Int {
        let (C, positions) = (configuration.hiddenSize, configuration.relativePositions?.count ?? 0)
        return Buffer<Float>.memory(tokens * C) + LayerNorm.Statistics.memory(tokens)
            + Buffer<Float>.memory(tokens * configuration.intermediateSize)
            + Buffer<Float>.memory(C) + 2 * Buffer<Float>.memory(positions * C)
    }

    /// Makes room for a pass: scores over its longest sequence, the largest rank of `adapter`, and inputs where
    /// it `drops` some.
    func prepare(
        _ configuration: EncoderConfiguration, longest: Int, adapter: (any LowRankDeltas)?,
        drops: Bool
    ) {
        let positions = configuration.relativePositions?.rows(forLength: longest).count ?? 0
        let count = BidirectionalAttention.scratchCount(longest: longest, positions: positions)
        if count > scoreCount {
            scoreCount = count
            scores = (0..<threads).map { _ in Buffer(uninitialized: count) }
        }
        guard let adapter else { return }
        for layer in 0..<configuration.layerCount {
            for module in configuration.modules.all {
                let path = ModulePath(layer: layer, module: module)
                if let delta = adapter.delta(at: path) { linear.reserve(delta, drops: drops) }
            }
        }
    }
}

/// Memory that every block of an encoder's backward pass uses in turn.
package final class EncoderBackwardScratch {
    /// Gradient of the activation [tokens, intermediate].
    let dh: Buffer<Float>
    /// Gradient of attention's result [tokens, hidden].
    let dAttended: Buffer<Float>
    /// Gradients of queries, keys and values [tokens, hidden].
    let dq: Buffer<Float>
    let dk: Buffer<Float>
    let dv: Buffer<Float>
    /// Gradients of the keys and queries of positions [positions, hidden]; empty without positions.
    let dPositionKeys: Buffer<Float>
    let dPositionQueries: Buffer<Float>

    /// Allocates for batches of up to `tokens` rows.
    init(_ configuration: EncoderConfiguration, tokens: Int) {
        let (C, positions) = (configuration.hiddenSize, configuration.relativePositions?.count ?? 0)
        dh = Buffer(tokens * configuration.intermediateSize)
        dAttended = Buffer(tokens * C)
        (dq, dk, dv) = (Buffer(tokens * C), Buffer(tokens * C), Buffer(tokens * C))
        dPositionKeys = Buffer(positions * C)
        dPositionQueries = Buffer(positions * C)
    }

    /// Bytes for batches of up to `tokens` rows.
    static func memory(_ configuration: EncoderConfiguration, tokens: Int) -> Int {
        let (C, positions) = (configuration.hiddenSize, configuration.relativePositions?.count ?? 0)
        return Buffer<Float>.memory(tokens * configuration.intermediateSize)
            + 4 * Buffer<Float>.memory(tokens * C) + 2 * Buffer<Float>.memory(positions * C)
    }
}
