public import LorikeetQuant
public import LorikeetRuntime

/// Factors in fp32 that training changes, with the gradients it changes them by.
public final class TrainableAdapter: TrainableLowRankDeltas, @unchecked Sendable {
    // Unchecked: the factors change only between a model's passes, by the one who trains.

    /// One layer's factors.
    public struct Module: Sendable {
        /// Where it stands in `modules`.
        public let index: Int
        /// The layer.
        public let path: ModulePath
        /// Width of the layer's input.
        public let inputSize: Int
        /// Width of the layer's output.
        public let outputSize: Int
        /// A [rank, in] and B [out, rank].
        public let delta: LowRankDelta
        /// dA, empty where A does not learn, and dB.
        public let gradient: LowRankGradient

        /// What is trained: A, if it learns, then B.
        public var parameters: [Parameter] {
            let rank = delta.rank
            let a = Parameter(
                name: "lora_A", shape: [rank, inputSize], values: delta.a, gradient: gradient.a,
                learnsAsB: false)
            let b = Parameter(
                name: "lora_B", shape: [outputSize, rank], values: delta.b, gradient: gradient.b,
                learnsAsB: true)
            return gradient.a.count > 0 ? [a, b] : [b]
        }
    }

    /// One trained tensor of a layer.
    public struct Parameter: Sendable {
        /// PEFT's name for it.
        public let name: String
        /// Its shape, row-major.
        public let shape: [Int]
        /// Its elements.
        public let values: Buffer<Float>
        /// Its gradient, in the same shape.
        public let gradient: Buffer<Float>
        /// Whether it learns at B's rate, where a method has two.
        public let learnsAsB: Bool
    }

    /// The width of a layer that is to be trained.
    public struct Shape: Sendable, Equatable {
        /// The layer.
        public var path: ModulePath
        /// Width of its input.
        public var inputSize: Int
        /// Width of its output.
        public var outputSize: Int

        /// Creates a shape.
        public init(path: ModulePath, inputSize: Int, outputSize: Int) {
            self.path = path
            self.inputSize = inputSize
            self.outputSize = outputSize
        }
    }

    /// The layers: by block, within one in the order of `LinearModule.allCases`.
    public let modules: [Module]
    /// The rank r.
    public let rank: Int
    /// What multiplies B A.
    public let scale: Float
    private let indices: [ModulePath: Int]

    /// Zero factors for the layers of `shapes`, in whatever order they come.
    private init(shapes: [Shape], rank: Int, scale: Float, learnsA: Bool) {
        precondition(rank > 0 && !shapes.isEmpty, "rank \(rank), \(shapes.count) layers")
        let order = Dictionary(
            uniqueKeysWithValues: LinearModule.allCases.enumerated().map { ($1, $0) })
        let sorted = shapes.sorted {
            ($0.path.layer, order[$0.path.module] ?? 0) < (
                $1.path.layer, order[$1.path.module] ?? 0
            )
        }
        modules = sorted.enumerated().map { index, shape in
            let (aCount, bCount) = (rank * shape.inputSize, shape.outputSize * rank)
            return Module(
                index: index, path: shape.path, inputSize: shape.inputSize,
                outputSize: shape.outputSize,
                delta: LowRankDelta(
                    a: Buffer(aCount), b: Buffer(bCount), rank: rank, scale: scale),
                gradient: LowRankGradient(
                    a: Buffer(learnsA ? aCount : 0), b: Buffer(bCount)))
        }
        indices = Dictionary(uniqueKeysWithValues: modules.map { ($0.path, $0.index) })
        self.rank = rank
        self.scale = scale
    }

    /// A start as PEFT makes it: A uniform in ±1/√in (Kaiming's with a = √5), B zero, so that the model
    /// begins as the base.
    ///
    /// The numbers depend on `seed` and on the layers, not on threads or machine.
    public convenience init(
        shapes: [Shape], rank: Int, scale: Float, seed: UInt64, learnsA: Bool = true
    ) {
        self.init(shapes: shapes, rank: rank, scale: scale, learnsA: learnsA)
        var generator = SeededGenerator(seed: seed)
        for module in modules {
            let bound = 1 / Double(module.inputSize).squareRoot()
            for index in 0..<module.delta.a.count {
                module.delta.a[index] = Float((2 * generator.uniform() - 1) * bound)
            }
        }
    }

    /// A start from another adapter's factors, which are copied.
    ///
    /// - Parameters:
    ///   - shapes: the layers to train.
    ///   - rank: the rank of both.
    ///   - scale: what multiplies B A in this one.
    ///   - source: the other adapter.
    ///   - name: what errors call the other adapter.
    ///   - learnsA: whether A is trained.
    /// - Throws: `.mismatch` where it lacks one of the layers, or has another rank or shape.
    public convenience init(
        shapes: [Shape], rank: Int, scale: Float, copying source: any LowRankDeltas, name: String,
        learnsA: Bool = true
    ) throws {
        self.init(shapes: shapes, rank: rank, scale: scale, learnsA: learnsA)
        for module in modules {
            guard let delta = source.delta(at: module.path) else {
                throw LorikeetError(
                    .mismatch, name, "has no factors for \(module.path)",
                    advice: "Train the modules that it has: --target-modules.")
            }
            let expected = module.delta
            guard delta.rank == rank, delta.a.count == expected.a.count,
                delta.b.count == expected.b.count
            else {
                throw LorikeetError(
                    .mismatch, name, "other factors for \(module.path)",
                    expected: "rank \(rank), A \(expected.a.count), B \(expected.b.count) elements",
                    got: "rank \(delta.rank), A \(delta.a.count), B \(delta.b.count)",
                    advice: "Pass its --rank, and the base it was trained on.")
            }
            withExtendedLifetime(delta) {
                _ = expected.a.elements.update(from: delta.a.elements)
                _ = expected.b.elements.update(from: delta.b.elements)
            }
        }
    }

    /// The factors of the layer at `path`.
    public func delta(at path: ModulePath) -> LowRankDelta? {
        indices[path].map { modules[$0].delta }
    }

    /// The gradients of the layer at `path`.
    public func gradient(at path: ModulePath) -> LowRankGradient? {
        indices[path].map { modules[$0].gradient }
    }

    /// How many numbers are trained.
    public var parameterCount: Int {
        parameters.reduce(0) { $0 + $1.values.count }
    }

    /// All that is trained, by layer.
    private var parameters: [Parameter] { modules.flatMap(\.parameters) }

    /// Sets every gradient to zero.
    public func zeroGradients() {
        for parameter in parameters { parameter.gradient.elements.update(repeating: 0) }
    }

    /// The norm of all gradients together, summed in float64 and in the layers' order.
    public func gradientNorm() -> Double {
        parameters.reduce(0) { $0 + sumOfSquares($1.gradient) }.squareRoot()
    }

    /// Scales the gradients so that their `norm` is at most `maximum`, as torch's `clip_grad_norm_`.
    public func clipGradients(norm: Double, to maximum: Double) {
        let factor = Float(maximum / (norm + 1e-6))
        guard factor < 1 else { return }
        for parameter in parameters {
            for index in 0..<parameter.gradient.count { parameter.gradient[index] *= factor }
        }
    }

    private func sumOfSquares(_ buffer: Buffer<Float>) -> Double {
        // Eight sums at once: one alone would wait for each addition.
        var sums = SIMD8<Double>.zero
        let pointer = buffer.pointer
        let whole = buffer.count / 8 * 8
        for index in stride(from: 0, to: whole, by: 8) {
            let values = SIMD8<Double>(
                UnsafeRawPointer(pointer + index).loadUnaligned(as: SIMD8<Float>.self))
            sums += values * values
        }
        return (whole..<buffer.count).reduce(sums.sum()) {
            $0 + Double(pointer[$1]) * Double(pointer[$1])
        }
    }
}

extension TrainableAdapter.Shape {
    /// The widths of `targets` in every block of `model`.
    public static func shapes(
        of targets: [LinearModule], in model: LlamaModel
    )
        -> [TrainableAdapter.Shape]
    {
        (0..<model.configuration.layerCount).flatMap { layer in
            targets.compactMap { module in
                let path = ModulePath(layer: layer, module: module)
                return model.weight(at: path).map {
                    TrainableAdapter.Shape(
                        path: path, inputSize: $0.columns, outputSize: $0.rows)
                }
            }
        }
    }
}
