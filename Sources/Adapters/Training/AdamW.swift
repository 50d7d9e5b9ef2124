public import LorikeetQuant
import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Adam with decoupled weight decay, exactly as torch.optim.AdamW.
///
///     p ← (1 - lr λ) p
///     m ← m + (1 - β₁)(g - m),    v ← β₂ v + (1 - β₂) g²
///     p ← p - lr / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
///
/// Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
public final class AdamW: @unchecked Sendable {
    // Unchecked: changed only between a model's passes, by the one who trains.

    /// The settings that do not change during a run.
    public struct Options: Sendable, Equatable {
        /// Decay of the first moment.
        public var beta1 = 0.9
        /// Decay of the second moment.
        public var beta2 = 0.999
        /// ε, beside the root.
        public var epsilon = 1e-8
        /// Weight decay λ.
        public var weightDecay = 0.0

        /// torch's settings, without weight decay.
        public init() {}
    }

    /// A factor's moments, in the factor's shape: m = `scale` · `first`, v = `scale`² · `second`.
    public final class Moments: @unchecked Sendable {
        // Unchecked: as AdamW itself.

        /// Torch's `exp_avg`, but for the scale.
        public let first: Buffer<Float>
        /// Torch's `exp_avg_sq`, but for the scale's square.
        public let second: Buffer<Float>
        /// What the next step multiplies both by when it reads them: 1 but where the factor, and with it
        /// its gradients, was rescaled since the last one.
        public fileprivate(set) var scale = 1.0

        init(_ count: Int) {
            first = Buffer(count)
            second = Buffer(count)
        }

        /// Lets the moments follow gradients that are `factor` times what they were.
        public func rescale(by factor: Double) { scale *= factor }
    }

    /// The settings.
    public let options: Options
    /// t: steps done.
    public private(set) var stepCount = 0
    /// The moments, by the adapter's layers.
    public let moments: [(a: Moments, b: Moments)]

    /// Zero moments for `adapter`.
    public init(_ adapter: TrainableAdapter, options: Options = Options()) {
        self.options = options
        moments = adapter.modules.map { (Moments($0.delta.a.count), Moments($0.delta.b.count)) }
    }

    /// What the moments are still to be multiplied by, A's and B's of every layer.
    var scales: [Double] { moments.flatMap { [$0.a.scale, $0.b.scale] } }

    /// Goes on where an optimizer stood that had done `stepCount` steps and left these `scales`; the
    /// moments themselves are set by the caller.
    func resume(stepCount: Int, scales: [Double]) {
        precondition(scales.count == 2 * moments.count, "\(scales.count) scales")
        self.stepCount = stepCount
        for (index, (a, b)) in moments.enumerated() {
            (a.scale, b.scale) = (scales[2 * index], scales[2 * index + 1])
        }
    }

    /// One step of both factors of every layer, each at its own learning rate.
    public func step(
        _ adapter: TrainableAdapter, learningRateA: Double, learningRateB: Double, compute: Compute
    ) {
        precondition(adapter.modules.count == moments.count, "another adapter's moments")
        stepCount += 1
        compute.pool.run(pieces: adapter.modules.count) { _, index in
            let (module, (a, b)) = (adapter.modules[index], moments[index])
            update(module.delta.a, module.gradient.a, a, learningRate: learningRateA)
            update(module.delta.b, module.gradient.b, b, learningRate: learningRateB)
        }
    }

    private func update(
        _ parameters: Buffer<Float>, _ gradient: Buffer<Float>, _ moments: Moments,
        learningRate: Double
    ) {
        // Scalars in float64, rounded once, as torch does.
        let kept = Float(1 - learningRate * options.weightDecay)
        let (w1, beta2, w2) = (
            Float(1 - options.beta1), Float(options.beta2), Float(1 - options.beta2)
        )
        let stepSize = Float(learningRate / (1 - pow(options.beta1, Double(stepCount))))
        let root = Float((1 - pow(options.beta2, Double(stepCount))).squareRoot())
        let epsilon = Float(options.epsilon)
        let (scale1, scale2) = (Float(moments.scale), Float(moments.scale * moments.scale))
        moments.scale = 1
        let (p, g, m, v) = (
            parameters.pointer, gradient.pointer, moments.first.pointer, moments.second.pointer
        )
        for i in 0..<parameters.count {
            let first = scale1 * m[i]
            m[i] = first + w1 * (g[i] - first)
            v[i] = beta2 * (scale2 * v[i]) + w2 * g[i] * g[i]
            p[i] = kept * p[i] - stepSize * m[i] / (v[i].squareRoot() / root + epsilon)
        }
    }
}
