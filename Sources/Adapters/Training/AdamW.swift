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
public final class AdamW: Optimizer, @unchecked Sendable {
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

    /// A parameter's moments, in its shape: m = `scale` · `first`, v = `scale`² · `second`.
    public struct Moments: Sendable {
        /// Torch's `exp_avg`, but for the scale.
        public let first: Buffer<Float>
        /// Torch's `exp_avg_sq`, but for the scale's square.
        public let second: Buffer<Float>
        // One element: the checkpoint writes and reads it in place, as it does the moments.
        fileprivate let pending: Buffer<Double>

        /// What the next step multiplies both by when it reads them: 1 but where the parameter, and with
        /// it its gradients, was rescaled since the last one.
        public var scale: Double { pending[0] }

        init(_ count: Int) {
            first = Buffer(count)
            second = Buffer(count)
            pending = Buffer([1])
        }

        /// Both moments of the parameter `name`, under torch's names, and their pending scale.
        func state(_ name: String, shape: [Int]) -> [StateTensor] {
            [
                StateTensor("\(name).exp_avg", shape: shape, .floats(first)),
                StateTensor(
                    "\(name).exp_avg_sq", shape: shape, .floats(second), range: .nonnegative),
                StateTensor(
                    "\(name).moment_scale", shape: [1], .doubles(pending), range: .positive),
            ]
        }

        /// Lets the moments follow gradients that are `c` times what they were.
        func rescale(by c: Double) { pending[0] *= c }
    }

    /// The settings.
    public let options: Options
    /// t: steps done.
    public private(set) var stepCount = 0
    /// The moments, by the adapter's layers, in the order of a layer's parameters; its head's last.
    public let moments: [[Moments]]
    /// The parameters' names in a file and their shapes, in the same order.
    private let names: [[(name: String, shape: [Int])]]

    /// Zero moments for `adapter`.
    public init(_ adapter: TrainableAdapter, options: Options = Options()) {
        self.options = options
        let parameters = adapter.namedParameters
        moments = parameters.map { $0.map { Moments($0.parameter.values.count) } }
        names = parameters.map { $0.map { ($0.name, $0.parameter.shape) } }
    }

    /// Bytes of the moments of parameters of so many elements each.
    static func memory(parameterCounts: [Int]) -> Int {
        parameterCounts.reduce(0) {
            $0 + 2 * Buffer<Float>.memory($1) + Buffer<Double>.memory(1)
        }
    }

    /// Both moments of every parameter, under torch's names, and their pending scale.
    public var state: [StateTensor] {
        zip(names.joined(), moments.joined()).flatMap { $1.state($0.name, shape: $0.shape) }
    }

    /// Goes on after `stepCount` steps.
    public func resume(stepCount: Int) { self.stepCount = stepCount }

    /// Rescales the moments of a layer's A and B, m as a gradient and v as its square.
    public func rescaleGradients(ofModule index: Int, a: Double, b: Double) {
        moments[index][0].rescale(by: a)
        moments[index][1].rescale(by: b)
    }

    /// One step of every parameter of every layer.
    public func step(
        _ adapter: TrainableAdapter, learningRateA: Double, learningRateB: Double, compute: Compute
    ) {
        let modules = adapter.modules
        precondition(
            modules.count + (adapter.head.isEmpty ? 0 : 1) == moments.count,
            "another adapter's moments")
        stepCount += 1
        compute.pool.run(pieces: moments.count) { _, index in
            let parameters = index < modules.count ? modules[index].parameters : adapter.head
            for (parameter, moments) in zip(parameters, moments[index]) {
                options.update(
                    parameter.values, parameter.gradient, moments, step: stepCount,
                    learningRate: parameter.learnsAsB ? learningRateB : learningRateA)
            }
        }
    }
}

extension AdamW.Options {
    /// The step with this number, from 1, of one parameter.
    func update(
        _ parameters: Buffer<Float>, _ gradient: Buffer<Float>, _ moments: AdamW.Moments,
        step: Int, learningRate: Double
    ) {
        // Scalars in float64, rounded once, as torch does.
        let kept = Float(1 - learningRate * weightDecay)
        let (w1, beta2, w2) = (Float(1 - beta1), Float(self.beta2), Float(1 - self.beta2))
        let stepSize = Float(learningRate / (1 - pow(beta1, Double(step))))
        let root = Float((1 - pow(self.beta2, Double(step))).squareRoot())
        let epsilon = Float(self.epsilon)
        let (scale1, scale2) = (Float(moments.scale), Float(moments.scale * moments.scale))
        moments.pending[0] = 1
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
