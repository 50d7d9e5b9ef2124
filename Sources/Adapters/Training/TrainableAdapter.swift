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
        /// m and dm, where the method trains them.
        public let magnitude: Magnitude?

        /// What is trained: A, if it learns, then B, then m.
        public var parameters: [Parameter] {
            let rank = delta.rank
            let a = Parameter(
                name: "lora_A", shape: [rank, inputSize], values: delta.a, gradient: gradient.a,
                learnsAsB: false)
            let b = Parameter(
                name: "lora_B", shape: [outputSize, rank], values: delta.b, gradient: gradient.b,
                learnsAsB: true)
            let m = magnitude.map {
                Parameter(
                    name: "lora_magnitude_vector", shape: [outputSize], values: $0.values,
                    gradient: $0.gradient, learnsAsB: false)
            }
            return (gradient.a.count > 0 ? [a, b] : [b]) + (m.map { [$0] } ?? [])
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

        /// Describes a tensor that is trained whole, with its first values.
        public init(name: String, shape: [Int], values: Buffer<Float>) {
            self.init(
                name: name, shape: shape, values: values, gradient: Buffer(values.count),
                learnsAsB: false)
        }

        init(
            name: String, shape: [Int], values: Buffer<Float>, gradient: Buffer<Float>,
            learnsAsB: Bool
        ) {
            precondition(values.count == shape.reduce(1, *), "\(values.count) values of \(shape)")
            (self.name, self.shape, self.learnsAsB) = (name, shape, learnsAsB)
            (self.values, self.gradient) = (values, gradient)
        }
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

    /// The layers in their order: by block, within one by module.
    public let modules: [Module]
    /// Tensors of the model that are trained whole, under its names for them (PEFT's `modules_to_save`): a
    /// classifier's head.
    public let head: [Parameter]
    /// The rank r.
    public let rank: Int
    /// What multiplies B A.
    public let scale: Float
    private let indices: [ModulePath: Int]
    private let headIndices: [String: Int]
    private let norms: RowNorms?
    /// What the model sees where that is more than the factors: the start is taken off.
    private var differences: [StartDifference]?

    /// Zero factors for the layers of `shapes`, in whatever order they come.
    ///
    /// - Parameters:
    ///   - shapes: the layers to train.
    ///   - rank: r.
    ///   - scale: what multiplies B A.
    ///   - norms: the base's, where there are magnitudes.
    ///   - learnsA: whether A is trained.
    ///   - head: tensors that are trained whole, with their first values.
    public init(
        shapes: [Shape], rank: Int, scale: Float, norms: RowNorms? = nil, learnsA: Bool = true,
        head: [Parameter] = []
    ) {
        precondition(rank > 0 && !shapes.isEmpty, "rank \(rank), \(shapes.count) layers")
        let sorted = shapes.sorted { $0.path < $1.path }
        modules = sorted.enumerated().map { index, shape in
            let (aCount, bCount) = (rank * shape.inputSize, shape.outputSize * rank)
            let magnitude = norms.map { _ in Magnitude(shape.outputSize) }
            return Module(
                index: index, path: shape.path, inputSize: shape.inputSize,
                outputSize: shape.outputSize,
                delta: LowRankDelta(
                    a: Buffer(aCount), b: Buffer(bCount), rank: rank, scale: scale,
                    outputScale: magnitude.map { Buffer($0.values.count) }),
                gradient: LowRankGradient(
                    a: Buffer(learnsA ? aCount : 0), b: Buffer(bCount),
                    outputScale: magnitude?.gradient),
                magnitude: magnitude)
        }
        indices = Dictionary(uniqueKeysWithValues: modules.map { ($0.path, $0.index) })
        self.head = head
        headIndices = Dictionary(
            uniqueKeysWithValues: head.enumerated().map { ($1.name, $0) })
        self.rank = rank
        self.scale = scale
        self.norms = norms
    }

    /// PEFT's default start: A uniform in ±1/√in, B zero; with the `norms` of a base there are magnitudes,
    /// which start as these.
    public convenience init(
        shapes: [Shape], rank: Int, scale: Float, seed: UInt64, norms: RowNorms? = nil,
        learnsA: Bool = true
    ) {
        self.init(shapes: shapes, rank: rank, scale: scale, norms: norms, learnsA: learnsA)
        startUniformly(seed: seed)
        startMagnitudes()
    }

    /// A start from another adapter's factors, which are copied.
    ///
    /// - Parameters:
    ///   - shapes: the layers to train.
    ///   - rank: the rank of both.
    ///   - scale: what multiplies B A in this one.
    ///   - source: the other adapter.
    ///   - name: what errors call the other adapter.
    ///   - norms: the base's, for an adapter with magnitudes: they start as the other adapter leaves the
    ///     rows' lengths.
    ///   - learnsA: whether A is trained.
    /// - Throws: `.unsupported` for one that brings tensors whole, `.mismatch` where it lacks one of the layers, or has another rank or shape, or magnitudes
    ///   when this one is to have none.
    public convenience init(
        shapes: [Shape], rank: Int, scale: Float, copying source: any LowRankDeltas, name: String,
        norms: RowNorms? = nil, learnsA: Bool = true
    ) throws {
        self.init(shapes: shapes, rank: rank, scale: scale, norms: norms, learnsA: learnsA)
        if let adapter = source as? Adapter, !adapter.tensors.isEmpty {
            throw LorikeetError(
                .unsupported, name, "training does not go on with tensors that are saved whole",
                expected: "no modules_to_save",
                got: adapter.tensors.keys.sorted().joined(separator: ", "))
        }
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
            guard delta.outputScale == nil || norms != nil else {
                throw LorikeetError(
                    .mismatch, name, "it is a DoRA adapter, whose magnitudes would be lost",
                    advice: "Train it with --method dora.")
            }
            if let magnitude = module.magnitude {
                norms?.compute(delta, at: module.path, into: magnitude.values)
                for (i, c) in (delta.outputScale?.array ?? []).enumerated() {
                    magnitude.values[i] *= c
                }
            }
            withExtendedLifetime(delta) {
                _ = expected.a.elements.update(from: delta.a.elements)
                _ = expected.b.elements.update(from: delta.b.elements)
            }
        }
        refreshOutputScales()
    }

    /// Magnitudes begin as the lengths of the rows of W + s B A, so that they change nothing.
    func startMagnitudes() {
        for module in modules {
            guard let magnitude = module.magnitude else { continue }
            norms?.compute(module.delta, at: module.path, into: magnitude.values)
        }
        refreshOutputScales()
    }

    /// Recomputes what the outputs of layers with magnitudes are multiplied by, m / ‖W + s B A‖.
    func refreshOutputScales() {
        for module in modules {
            guard let magnitude = module.magnitude, let outputScale = module.delta.outputScale
            else { continue }
            norms?.compute(module.delta, at: module.path, into: magnitude.norms)
            Magnitude.scale(magnitude.values, over: magnitude.norms, into: outputScale)
        }
    }

    /// The term of the layer at `path`, as a model and a file have it.
    public func delta(at path: ModulePath) -> LowRankDelta? {
        indices[path].map { differences?[$0].delta ?? modules[$0].delta }
    }

    /// Where a model adds the gradients of that term.
    public func gradient(at path: ModulePath) -> LowRankGradient? {
        indices[path].map { differences?[$0].gradient ?? modules[$0].gradient }
    }

    /// The model's tensor `name`, where it is trained whole.
    public func tensor(_ name: String) -> Buffer<Float>? {
        headIndices[name].map { head[$0].values }
    }

    /// Where a model adds its gradient.
    public func gradient(ofTensor name: String) -> Buffer<Float>? {
        headIndices[name].map { head[$0].gradient }
    }

    /// The term of every layer.
    public var deltas: [ModulePath: LowRankDelta] {
        modules.reduce(into: [:]) { $0[$1.path] = delta(at: $1.path) }
    }

    /// The magnitudes by layer; none where the method has none.
    public var magnitudes: [ModulePath: Buffer<Float>] {
        modules.reduce(into: [:]) { $0[$1.path] = $1.magnitude?.values }
    }

    /// The rank of these terms: twice that of the factors where the start is taken off.
    public var modelRank: Int { differences == nil ? rank : 2 * rank }

    /// From here on the model sees s (B A − B₀ A₀), A₀ and B₀ being the factors of now.
    package func subtractStart() {
        differences = modules.map { StartDifference(of: $0.delta) }
    }

    /// Brings what the model sees to where the factors are: after they changed, before a pass.
    public func publish() {
        guard let differences else { return }
        for (module, difference) in zip(modules, differences) { difference.publish(module.delta) }
    }

    /// Brings the gradients that passes have added to the factors: after them, before a step.
    public func collectGradients() {
        guard let differences else { return }
        for (module, difference) in zip(modules, differences) {
            difference.collect(into: module.gradient)
        }
    }

    /// How many numbers are trained.
    public var parameterCount: Int {
        parameters.reduce(0) { $0 + $1.values.count }
    }

    /// All that is trained: by layer, then the head.
    private var parameters: [Parameter] { modules.flatMap(\.parameters) + head }

    /// Whether every factor is a finite number.
    var isFinite: Bool {
        // The square of the largest float is a double.
        parameters.allSatisfy { sumOfSquares($0.values).isFinite }
    }

    /// Sets every gradient to zero.
    public func zeroGradients() {
        for parameter in parameters { parameter.gradient.elements.update(repeating: 0) }
        differences?.forEach { $0.zeroGradients() }
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
        of targets: [LinearModule], in model: ModelConfiguration
    )
        -> [TrainableAdapter.Shape]
    {
        (0..<model.layerCount).flatMap { layer in
            targets.map { module in
                let (outputs, inputs) = module.shape(in: model)
                return TrainableAdapter.Shape(
                    path: ModulePath(layer: layer, module: module), inputSize: inputs,
                    outputSize: outputs)
            }
        }
    }
}

extension TrainableAdapter {
    /// Every trained tensor under the name that files of a run have for it, by layer, the head's last.
    var namedParameters: [[(name: String, parameter: Parameter)]] {
        modules.map { module in
            module.parameters.map { ("\(module.path).\($0.name)", $0) }
        } + (head.isEmpty ? [] : [head.map { ($0.name, $0) }])
    }
}

extension TrainableAdapter.Shape {
    /// The widths of `targets` in every block of `modules`.
    public static func shapes(
        of targets: [LinearModule], in modules: BlockModules
    ) -> [TrainableAdapter.Shape] {
        (0..<modules.layerCount).flatMap { layer in
            modules.entries.filter { targets.contains($0.module) }.map {
                TrainableAdapter.Shape(
                    path: ModulePath(layer: layer, module: $0.module), inputSize: $0.inputs,
                    outputSize: $0.outputs)
            }
        }
    }
}
