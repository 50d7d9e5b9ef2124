public import LorikeetQuant
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The optimizer of LoRA-RITE.
///
/// Of a layer's factors, both as wide matrices F [r, n], K_F = F Fᵀ gives the basis U_F = K_F^-½ F with
/// orthonormal rows. (The authors take it from a QR decomposition; the step does not depend on which.)
/// A factor's step, with the other one's K:
///
///     g = K^-½ dF                             unmagnified: what dF would be were the other's basis it
///     T = U Uₒₗdᵀ of the other factor         carries the moments into the present basis
///     V ← β₂ T V Tᵀ + (1 − β₂) g gᵀ / n
///     ρ ← β₂ (ρ + escaped)                    what T V Tᵀ lost: the largest fall of an eigenvalue
///     m ← β₁ T m + (1 − β₁) (V + ρ I)^-½ g
///     F ← F − lr (K^-½ m + λ F)
///
/// with β for which a moment needs no correction: β (1 − βᵗ⁻¹) / (1 − βᵗ).
/// A direction that a factor lacks (all of them, at B = 0) has no inverse root and moves nothing.
public final class LoRARITEOptimizer: Optimizer, @unchecked Sendable {
    // Unchecked: changed only between a model's passes, by the one who trains.

    /// Beyond this norm over all layers the unmagnified gradients are scaled down to it.
    private static let largestNorm = 1.0
    /// Beyond this root mean square of its elements a layer's unmagnified gradient is left out.
    private static let largestMeanSquareRoot = 1.0
    /// ε, beside the root of V; the authors'.
    private static let epsilon = 1e-6

    /// What is remembered of one factor.
    private struct Memory {
        // m and U, in the factor's shape
        let first: Buffer<Float>
        let basis: Buffer<Float>
        // V [r, r] and ρ
        let second: Buffer<Double>
        let escaped: Buffer<Double>

        init(_ count: Int, rank: Int) {
            (first, basis) = (Buffer(count), Buffer(count))
            (second, escaped) = (Buffer(rank * rank), Buffer(1))
        }
    }

    /// What the first half of a step finds of one factor for the second.
    private struct Frame {
        /// K^-½.
        var inverseRoot: SymmetricMatrix
        /// U Uₒₗdᵀ.
        var transport: SquareMatrix
    }

    /// The settings; ε is not AdamW's.
    public let options: AdamW.Options
    /// t: steps done.
    public private(set) var stepCount = 0
    private let rank: Int
    private let memories: [[Memory]]
    private let names: [[(name: String, shape: [Int])]]

    /// Zero moments for `adapter`, both of whose factors learn.
    public init(_ adapter: TrainableAdapter, options: AdamW.Options = AdamW.Options()) {
        self.options = options
        rank = adapter.rank
        memories = adapter.modules.map { module in
            module.parameters.map { Memory($0.values.count, rank: adapter.rank) }
        }
        precondition(memories.allSatisfy { $0.count == 2 }, "a layer of other parameters than A, B")
        names = adapter.modules.map { module in
            module.parameters.map { ("\(module.path).\($0.name)", $0.shape) }
        }
    }

    /// Bytes of what is remembered of layers of these shapes.
    static func memory(_ shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        let square = Buffer<Double>.memory(rank * rank) + Buffer<Double>.memory(1)
        return shapes.reduce(0) { sum, shape in
            [shape.inputSize, shape.outputSize].reduce(sum) {
                $0 + 2 * Buffer<Float>.memory($1 * rank) + square
            }
        }
    }

    /// Of every factor m, U, V and ρ.
    public var state: [StateTensor] {
        zip(names.joined(), memories.joined()).flatMap { parameter, memory in
            [
                StateTensor(
                    "\(parameter.name).first_moment", shape: parameter.shape, .floats(memory.first)),
                StateTensor(
                    "\(parameter.name).basis", shape: parameter.shape, .floats(memory.basis)),
                StateTensor(
                    "\(parameter.name).second_moment", shape: [rank, rank],
                    .doubles(memory.second)),
                StateTensor(
                    "\(parameter.name).escaped", shape: [1], .doubles(memory.escaped),
                    range: .nonnegative),
            ]
        }
    }

    /// Goes on after `stepCount` steps.
    public func resume(stepCount: Int) { self.stepCount = stepCount }

    /// Nothing: what is remembered is in orthonormal bases, which rescaled factors share.
    public func rescaleGradients(ofModule index: Int, a: Double, b: Double) {}

    /// One step of every layer; gradients are overwritten.
    public func step(
        _ adapter: TrainableAdapter, learningRateA: Double, learningRateB: Double, compute: Compute
    ) {
        precondition(adapter.modules.count == memories.count, "another adapter's moments")
        stepCount += 1
        let algebras = FactorAlgebra.ofThreads(rank: rank, compute)
        let largest = adapter.modules.map { max($0.delta.a.count, $0.delta.b.count) }.max() ?? 0
        let scratch = (0..<compute.pool.count).map { _ in Buffer<Float>(uninitialized: largest) }
        var frames = [[Frame]?](repeating: nil, count: memories.count)
        var squares = [Double](repeating: 0, count: memories.count)
        frames.withUnsafeMutableBufferPointer { frames in
            squares.withUnsafeMutableBufferPointer { squares in
                // Each item is written by whoever takes its layer.
                nonisolated(unsafe) let (frames, squares) = (frames, squares)
                compute.pool.run(pieces: memories.count) { thread, index in
                    (frames[index], squares[index]) = unmagnify(
                        adapter.modules[index], algebras[thread], scratch[thread])
                }
            }
        }
        // Summed in the layers' order, whatever the threads'.
        let norm = squares.reduce(0, +).squareRoot()
        let clip = norm > Self.largestNorm ? Self.largestNorm / norm : 1
        compute.pool.run(pieces: memories.count) { thread, index in
            guard let frames = frames[index] else { return }
            let module = adapter.modules[index]
            let (a, b) = (module.factors.a, module.factors.b)
            let (dA, dB) = (module.factorGradients.a, module.factorGradients.b)
            let algebra = algebras[thread]
            move(
                a, dA, memories[index][0], frames[1], clip: clip, rate: learningRateA, algebra,
                scratch[thread])
            move(
                b, dB, memories[index][1], frames[0], clip: clip, rate: learningRateB, algebra,
                scratch[thread])
        }
    }

    /// dF ← K^-½ dF of both factors, each with the other's K, and the bases of this step.
    ///
    /// - Returns: both factors' frames, or nil where LAPACK finds no eigenvalues, and the sum of the
    ///   gradients' squares.
    private func unmagnify(
        _ module: TrainableAdapter.Module, _ algebra: FactorAlgebra, _ scratch: Buffer<Float>
    ) -> ([Frame]?, Double) {
        let (factors, gradients) = (module.factors, module.factorGradients)
        let memory = memories[module.index]
        var frames: [Frame] = []
        for (factor, memory) in zip([factors.a, factors.b], memory) {
            guard let eigen = algebra.gram(factor).eigendecomposition() else { return (nil, 0) }
            let floor = RefactoringMatrix.eigenvalueFloor * max(eigen.values.last ?? 0, 0)
            let root = eigen.applying { $0 > floor ? 1 / $0.squareRoot() : 0 }
            let old = factor.like(memory.basis)
            let transport = algebra.withCopy(of: factor, in: scratch) { basis in
                algebra.multiply(basis, by: root)
                let transport = algebra.product(basis, old)
                old.pointer.update(from: basis.pointer, count: basis.count)
                return transport
            }
            frames.append(Frame(inverseRoot: root, transport: transport))
        }
        var square = 0.0
        for (gradient, frame) in zip([gradients.a, gradients.b], frames.reversed()) {
            algebra.multiply(gradient, by: frame.inverseRoot)
            let norm = algebra.norm(gradient)
            let count = Double(gradient.count)
            // Written so that a norm that is no number leaves the gradient out too.
            if norm / count.squareRoot() <= Self.largestMeanSquareRoot {
                square += norm * norm
            } else {
                gradient.pointer.update(repeating: 0, count: gradient.count)
            }
        }
        return (frames, square)
    }

    /// The second half of a step of one factor; `frame` is the other one's.
    private func move(
        _ factor: LowRankFactor, _ gradient: LowRankFactor, _ memory: Memory, _ frame: Frame,
        clip: Double, rate: Double, _ algebra: FactorAlgebra, _ scratch: Buffer<Float>
    ) {
        let (beta1, beta2) = (decay(options.beta1), decay(options.beta2))
        if clip < 1 { algebra.scale(gradient, by: clip) }
        let old = SymmetricMatrix(size: rank, elements: memory.second.array)
        let carried = old.transformed(by: frame.transport)
        guard let before = old.eigenvalues(), let after = carried.eigenvalues() else { return }
        let escaped = zip(before, after).reduce(0) { max($0, $1.0 - $1.1) }
        memory.escaped[0] = beta2 * (memory.escaped[0] + escaped)
        let square = algebra.gram(gradient)
        var second = carried.scaled(by: beta2)
        let weight = (1 - beta2) / Double(gradient.n)
        for index in 0..<second.elements.count {
            second.elements[index] += weight * square.elements[index]
        }
        _ = memory.second.elements.update(from: second.elements)
        guard let eigen = second.eigendecomposition() else { return }
        let rho = memory.escaped[0]
        let inverseRoot = eigen.applying {
            1 / ((max($0, 0) + rho).squareRoot() + Self.epsilon)
        }
        algebra.multiply(gradient, by: inverseRoot)

        let first = factor.like(memory.first)
        algebra.withCopy(of: first, in: scratch) { old in
            first.pointer.update(from: gradient.pointer, count: gradient.count)
            algebra.scale(first, by: 1 - beta1)
            algebra.multiply(
                old, by: frame.transport, scale: beta1, into: first, accumulate: true)
        }
        algebra.withCopy(of: first, in: scratch) { update in
            algebra.multiply(update, by: frame.inverseRoot)
            let kept = Float(1 - rate * options.weightDecay)
            let (p, u, lr) = (factor.pointer, update.pointer, Float(rate))
            for i in 0..<factor.count { p[i] = kept * p[i] - lr * u[i] }
        }
    }

    /// β for which a moment needs no correction for its start at zero.
    ///
    /// Source: Shazeer and Stern, "Adafactor" (2018), section 7.1.
    private func decay(_ beta: Double) -> Double {
        let t = Double(stepCount)
        return beta * (1 - pow(beta, t - 1)) / (1 - pow(beta, t))
    }
}

extension FactorAlgebra {
    /// Calls `body` with a copy of `factor` that lies in `scratch`, which is as large or larger.
    func withCopy<Result>(
        of factor: LowRankFactor, in scratch: Buffer<Float>, _ body: (LowRankFactor) -> Result
    ) -> Result {
        let copy = factor.like(scratch)
        copy.pointer.update(from: factor.pointer, count: factor.count)
        return withExtendedLifetime(scratch) { body(copy) }
    }
}
