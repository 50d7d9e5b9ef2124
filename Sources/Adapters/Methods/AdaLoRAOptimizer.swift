public import LorikeetQuant
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// AdamW on AdaLoRA's P, E and Q, and the choice of triplets.
///
/// With the model's gradients dA and dB of A = Q and B = P diag(E)
///
///     dQ = dA + ∂R/∂Q,    dE = columns' sums of P ∘ dB,    dP = dB diag(E) + ∂R/∂P
///     R = 0.5 mean over all P and Q of ‖Pᵀ P − I‖, ‖Q Qᵀ − I‖
///
/// (norms, not their squares, as in PEFT). A step later an element's importance is Ī Ū, where
///
///     I = |p dp|,    Ī ← β Ī + (1 − β) I,    Ū ← β Ū + (1 − β) |I − Ī|,    β = 0.85
///
/// and a triplet's that of its E plus the means over its column of P and its row of Q. Those below the
/// budget get E = 0; until the last choice they go on learning and may come back.
public final class AdaLoRAOptimizer: Optimizer, @unchecked Sendable {
    // Unchecked: changed only between a model's passes, by the one who trains.

    private static let startDeviation = 0.02
    private static let orthogonality = 0.5
    private static let decay: Float = 0.85

    /// One of a layer's three parameters.
    private struct Part {
        let name: String
        let shape: [Int]
        let values: Buffer<Float>
        let gradient: Buffer<Float>
        let moments: AdamW.Moments
        // Ī and Ū
        let importance: Buffer<Float>
        let uncertainty: Buffer<Float>

        init(_ name: String, shape: [Int], _ values: Buffer<Float>, _ gradient: Buffer<Float>) {
            (self.name, self.shape) = (name, shape)
            (self.values, self.gradient) = (values, gradient)
            moments = AdamW.Moments(values.count)
            (importance, uncertainty) = (Buffer(values.count), Buffer(values.count))
        }

        var state: [StateTensor] {
            moments.state(name, shape: shape) + [
                StateTensor(
                    "\(name).importance", shape: shape, .floats(importance), range: .nonnegative),
                StateTensor(
                    "\(name).uncertainty", shape: shape, .floats(uncertainty), range: .nonnegative),
            ]
        }

        func score(_ index: Int) -> Float { importance[index] * uncertainty[index] }
    }

    /// P [out, r], E [r] and Q [r, in] of a layer, and which triplets are on.
    private struct Triplets {
        let p: Part
        let e: Part
        let q: Part
        // 1 or 0, [r]
        let active: Buffer<Float>
        let path: ModulePath
    }

    /// AdamW's settings.
    public let options: AdamW.Options
    /// t: steps done.
    public private(set) var stepCount = 0
    private let budget: AdaLoRA.Budget
    private let rank: Int
    private let layers: [Triplets]

    /// Takes A as Q and splits B into P and E.
    ///
    /// A column of B that is not zero becomes P's, scaled to the length of a random one; for the others
    /// E is 0 and P random, from `seed`.
    init(
        _ adapter: TrainableAdapter, options: AdamW.Options, budget: AdaLoRA.Budget, seed: UInt64
    ) {
        self.options = options
        self.budget = budget
        rank = adapter.rank
        var generator = SeededGenerator(seed: seed)
        layers = adapter.modules.map { module in
            let (rank, outputs) = (adapter.rank, module.outputSize)
            let p = Part(
                "\(module.path).lora_P", shape: [outputs, rank], Buffer(module.delta.b.count),
                module.gradient.b)
            let e = Part("\(module.path).lora_E", shape: [rank], Buffer(rank), Buffer(rank))
            let q = Part(
                "\(module.path).lora_Q", shape: [rank, module.inputSize], module.delta.a,
                module.gradient.a)
            for index in 0..<p.values.count {
                p.values[index] = Float(Self.startDeviation * generator.normal())
            }
            for k in 0..<rank {
                let square = (0..<outputs).reduce(0.0) { sum, row in
                    let element = Double(module.delta.b[row * rank + k])
                    return sum + element * element
                }
                guard square > 0 else { continue }
                let length = (square / Double(outputs)).squareRoot() / Self.startDeviation
                e.values[k] = Float(length)
                for row in 0..<outputs {
                    p.values[row * rank + k] = module.delta.b[row * rank + k] / Float(length)
                }
            }
            return Triplets(
                p: p, e: e, q: q, active: Buffer([Float](repeating: 1, count: rank)),
                path: module.path)
        }
    }

    /// Bytes of what is kept of layers of these shapes.
    static func memory(_ shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        func part(_ count: Int) -> Int {
            AdamW.memory(parameterCounts: [count]) + 2 * Buffer<Float>.memory(count)
        }
        // E with its gradient, and which triplets are on.
        let values = 3 * Buffer<Float>.memory(rank)
        return shapes.reduce(0) { sum, shape in
            let p = shape.outputSize * rank
            return sum + values + Buffer<Float>.memory(p) + part(p) + part(rank)
                + part(rank * shape.inputSize)
        }
    }

    /// P and E, what is remembered of P, E and Q, and which triplets are on.
    public var state: [StateTensor] {
        layers.flatMap { layer in
            [
                StateTensor(layer.p.name, shape: layer.p.shape, .floats(layer.p.values)),
                StateTensor(layer.e.name, shape: layer.e.shape, .floats(layer.e.values)),
                StateTensor(
                    "\(layer.path).active", shape: [rank], .floats(layer.active),
                    range: .nonnegative),
            ] + layer.p.state + layer.e.state + layer.q.state
        }
    }

    /// Goes on after `stepCount` steps.
    public func resume(stepCount: Int) { self.stepCount = stepCount }

    /// Rescales E, whose gradient is b times what it was when B is divided by it, and Q's moments.
    public func rescaleGradients(ofModule index: Int, a: Double, b: Double) {
        let layer = layers[index]
        for k in 0..<rank { layer.e.values[k] = Float(Double(layer.e.values[k]) / b) }
        layer.e.moments.rescale(by: b)
        layer.q.moments.rescale(by: a)
    }

    /// One step of every layer, and the choice of triplets that is due after it; gradients are overwritten.
    public func step(
        _ adapter: TrainableAdapter, learningRateA: Double, learningRateB: Double, compute: Compute
    ) {
        precondition(adapter.modules.count == layers.count, "another adapter's moments")
        stepCount += 1
        let algebras = FactorAlgebra.ofThreads(rank: rank, compute)
        compute.pool.run(pieces: layers.count) { thread, index in
            let layer = layers[index]
            differentiate(layer)
            addOrthogonality(layer, algebras[thread])
            for (part, rate) in [
                (layer.p, learningRateB), (layer.e, learningRateB), (layer.q, learningRateA),
            ] {
                options.update(
                    part.values, part.gradient, part.moments, step: stepCount, learningRate: rate)
                if stepCount < budget.end { updateImportance(part) }
            }
        }
        choose()
        compute.pool.run(pieces: layers.count) { _, index in
            let (layer, b) = (layers[index], adapter.modules[index].delta.b)
            for row in 0..<b.count / rank {
                for k in 0..<rank {
                    b[row * rank + k] = layer.p.values[row * rank + k] * layer.e.values[k]
                }
            }
        }
    }

    /// dE from dB, then dB ← dP.
    private func differentiate(_ layer: Triplets) {
        let (p, dP, e, dE) = (
            layer.p.values, layer.p.gradient, layer.e.values, layer.e.gradient
        )
        var sums = [Double](repeating: 0, count: rank)
        for row in 0..<p.count / rank {
            for k in 0..<rank {
                sums[k] += Double(p[row * rank + k] * dP[row * rank + k])
                dP[row * rank + k] *= e[k]
            }
        }
        for k in 0..<rank { dE[k] = Float(sums[k]) }
    }

    /// Adds ∂R: of a wide F it is w (F Fᵀ − I) F / ‖F Fᵀ − I‖ with w = 0.5 · 2 / (number of factors).
    private func addOrthogonality(_ layer: Triplets, _ algebra: FactorAlgebra) {
        let weight = Self.orthogonality * 2 / Double(2 * layers.count)
        func add(_ factor: LowRankFactor, to gradient: LowRankFactor) {
            let difference = algebra.gram(factor).damped(by: -1)
            let norm = difference.frobeniusNorm
            guard norm > 0 else { return }
            algebra.multiply(
                factor, by: SquareMatrix(size: rank, elements: difference.elements),
                scale: weight / norm, into: gradient, accumulate: true)
        }
        let (p, q) = (layer.p, layer.q)
        add(
            LowRankFactor(tall: p.values, rank: rank),
            to: LowRankFactor(tall: p.gradient, rank: rank))
        add(
            LowRankFactor(wide: q.values, rank: rank),
            to: LowRankFactor(wide: q.gradient, rank: rank))
    }

    private func updateImportance(_ part: Part) {
        let (kept, rest) = (Self.decay, 1 - Self.decay)
        for i in 0..<part.values.count {
            let now = abs(part.values[i] * part.gradient[i])
            part.importance[i] = kept * part.importance[i] + rest * now
            part.uncertainty[i] =
                kept * part.uncertainty[i] + rest * abs(now - part.importance[i])
        }
    }

    /// Switches off the triplets that are beyond the budget, if a choice is due, and keeps the last
    /// choice's off.
    private func choose() {
        if let count = budget.triplets(after: stepCount, layers: layers.count, rank: rank) {
            let scores = layers.map(scores)
            let off = layers.count * rank - count
            // As in PEFT: all whose score is at most that of the last one to go.
            let threshold = off > 0 ? scores.joined().sorted()[off - 1] : -1
            for (layer, scores) in zip(layers, scores) {
                for (k, score) in scores.enumerated() {
                    layer.active[k] = score <= threshold ? 0 : 1
                }
            }
        } else if stepCount < budget.end {
            return
        }
        for layer in layers {
            for k in 0..<rank where layer.active[k] == 0 { layer.e.values[k] = 0 }
        }
    }

    private func scores(_ layer: Triplets) -> [Float] {
        let (p, q) = (layer.p, layer.q)
        let (outputs, inputs) = (p.values.count / rank, q.values.count / rank)
        var sums = [Double](repeating: 0, count: rank)
        for row in 0..<outputs {
            for k in 0..<rank { sums[k] += Double(p.score(row * rank + k)) }
        }
        return (0..<rank).map { k in
            let q = (0..<inputs).reduce(0.0) { $0 + Double(q.score(k * inputs + $1)) }
            return Float(
                Double(layer.e.score(k)) + sums[k] / Double(outputs) + q / Double(inputs))
        }
    }
}
