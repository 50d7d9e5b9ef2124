public import LorikeetQuant
public import LorikeetRuntime

/// LoftQ with one iteration: an adapter that gives back the largest part of what quantization lost.
///
///     s B A = the r largest singular values of W − dequantize(quantize(W)), with their vectors
///
/// The base stays the plain quantized one. Training starts from the adapter (`--init loftq`), which also
/// serves as it is.
/// Source: Li et al., "LoftQ: LoRA-Fine-Tuning-Aware Quantization for Large Language Models" (2023),
/// algorithm 1 with T = 1 in this order: quantize first, then the singular vectors.
public struct LoftQ: Sendable {
    /// The folder beside the base's weights, PEFT's name for it.
    public static let folderName = "loftq_init"

    /// The rank r.
    public var rank: Int
    /// alpha; nil for twice the rank.
    public var alpha: Double?

    /// The share of the squared quantization error that the adapter takes back, over all layers.
    public struct Report: Sendable {
        /// Layers.
        public var modules: Int
        /// Σ σᵢ² of the kept ones over ‖W − Q‖², from 0 to 1.
        public var recovered: Double
    }

    /// An adapter of this rank.
    public init(rank: Int, alpha: Double? = nil) {
        self.rank = rank
        self.alpha = alpha
    }

    /// Writes the adapter into the folder `base`, as the folder `loftq_init`.
    ///
    /// - Parameters:
    ///   - source: the float checkpoint.
    ///   - base: the folder that was quantized from it.
    ///   - compute: the threads.
    ///   - progress: told the layers done, of how many.
    /// - Returns: how much of the error it takes back.
    /// - Throws: what reading throws; `.invalidArgument` for a rank that a layer does not have.
    @discardableResult
    public func write(
        source: any Checkpoint, base: String, compute: Compute,
        progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) throws -> Report {
        // Exact products: the difference of two nearly equal ones is what counts.
        let compute = Compute(threads: compute.pool.count, precision: .fp32)
        let quantized = try Checkpoints.open(base)
        let configuration = try ModelConfiguration(
            quantized.configuration, source: base + "/config.json")
        let method = MethodName.lora
        let alpha = alpha ?? Double(2 * rank)
        let adapter = TrainableAdapter(
            shapes: TrainableAdapter.Shape.shapes(of: configuration.modules.all, in: configuration),
            rank: rank, scale: method.scale(rank: rank, alpha: alpha))
        var (recovered, lost) = (0.0, 0.0)
        for (index, module) in adapter.modules.enumerated() {
            try adapter.requireRank(of: module)
            let (original, codes) = try (
                weights(of: module, in: source), weights(of: module, in: quantized)
            )
            let components = PrincipalComponents(
                of: DifferenceOperator(
                    left: WeightOperator(.stored(original), on: compute),
                    right: WeightOperator(.stored(codes), on: compute)),
                rank: rank, seed: 0)
            adapter.set(module, components)
            recovered += components.values.reduce(0) { $0 + $1 * $1 }
            lost += squaredDistance(original, codes, on: compute)
            progress(index + 1, adapter.modules.count)
        }
        try Adapters.writePeftFolder(
            at: "\(base)/\(Self.folderName)",
            configuration: AdapterConfiguration(
                rank: rank, alpha: alpha,
                targetModules: .list(configuration.modules.all.map(\.name)),
                baseModel: Adapters.name(of: base)),
            deltas: adapter.deltas, replace: true)
        return Report(modules: adapter.modules.count, recovered: lost > 0 ? recovered / lost : 0)
    }

    private func weights(
        of module: TrainableAdapter.Module, in checkpoint: any Checkpoint
    ) throws -> WeightMatrix {
        try checkpoint.weights(
            "\(module.path).weight", rows: module.outputSize, columns: module.inputSize)
    }

    /// ‖W − Q‖², a row at a time.
    private func squaredDistance(
        _ left: WeightMatrix, _ right: WeightMatrix, on compute: Compute
    )
        -> Double
    {
        let (x, y) = (Buffer<Float>(left.columns), Buffer<Float>(left.columns))
        return (0..<left.rows).reduce(0) { sum, row in
            left.row(row, into: x.pointer, on: compute)
            right.row(row, into: y.pointer, on: compute)
            return zip(x.elements, y.elements).reduce(sum) {
                $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
            }
        }
    }
}
