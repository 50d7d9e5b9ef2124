import LorikeetQuant
import QuantKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension EncoderConfiguration {
    /// A tensor of the head, by its name in a model with a classifier.
    public struct HeadTensor: Sendable, Equatable {
        /// `classifier.weight`.
        public var name: String
        /// Its shape, row-major.
        public var shape: [Int]
        /// Whether it starts at zero rather than at random.
        public var isBias: Bool { shape.count == 1 }
    }

    /// The head for so many outputs: the pooler, then the classifier, each a weight and a bias.
    public func headTensors(labels: Int) -> [HeadTensor] {
        let C = hiddenSize
        return [
            HeadTensor(name: "\(poolerName).weight", shape: [C, C]),
            HeadTensor(name: "\(poolerName).bias", shape: [C]),
            HeadTensor(name: "classifier.weight", shape: [labels, C]),
            HeadTensor(name: "classifier.bias", shape: [labels]),
        ]
    }
}

extension EncoderConfiguration {
    /// The head's layers by every name that a checkpoint has for them: one without a classifier may call the
    /// pooler by a shorter one.
    var headLayers: [String] {
        let short = String(poolerName.trimmingPrefix(prefix))
        return short == poolerName
            ? [poolerName, "classifier"] : [poolerName, short, "classifier"]
    }
}

/// What makes a sequence's first hidden state h its outputs: z = C φ(P h + p) + c, φ = tanh in BERT, GELU in DeBERTa.
///
/// In full precision, and trained with an adapter.
final class SequenceHead {
    /// How many outputs there are.
    let outputs: Int
    private let hiddenSize: Int
    private let usesTanh: Bool
    private let names: [String]
    // P [hidden, hidden], p [hidden], C [outputs, hidden], c [outputs]
    private let (pooler, poolerBias): (Buffer<Float>, Buffer<Float>)
    private let (classifier, classifierBias): (Buffer<Float>, Buffer<Float>)

    /// The head of `adapter`, where it has one, or else of `model`.
    ///
    /// - Throws: `.unsupported` where neither has one, `.mismatch` for one of another width.
    init(_ model: EncoderModel, adapter: (any LowRankDeltas)?) throws {
        let configuration = model.configuration
        let C = configuration.hiddenSize
        func tensor(_ name: String) throws -> Buffer<Float> {
            if let own = adapter?.tensor(name) ?? model.headTensors[name] { return own }
            throw LorikeetError(
                .unsupported, name, "the model has no such tensor, and no adapter brings it",
                advice: "Pass the adapter that was trained for the task: --adapter.")
        }
        names = configuration.headTensors(labels: 0).map(\.name)
        let tensors = try names.map(tensor)
        outputs = tensors[3].count
        for (tensor, expected) in zip(tensors, configuration.headTensors(labels: outputs)) {
            guard tensor.count == expected.shape.reduce(1, *) else {
                throw LorikeetError(
                    .mismatch, expected.name, "the head is of another model",
                    expected: "\(expected.shape)", got: "\(tensor.count) elements")
            }
        }
        (pooler, poolerBias, classifier, classifierBias) = (
            tensors[0], tensors[1], tensors[2], tensors[3]
        )
        hiddenSize = C
        usesTanh = configuration.architecture == .bert
    }

    /// What the backward pass needs of the forward pass.
    struct Activations {
        /// P h + p [count, hidden].
        let pooled: Buffer<Float>
        /// φ of it [count, hidden].
        let activated: Buffer<Float>
        /// z [count, outputs].
        let logits: Buffer<Float>
    }

    /// - h: the sequences' first hidden states [count, hidden].
    func forward(_ h: UnsafePointer<Float>, count: Int, on compute: Compute) -> Activations {
        let C = hiddenSize
        let result = Activations(
            pooled: Buffer(count * C), activated: Buffer(count * C),
            logits: Buffer(count * outputs))
        Self.multiply(
            h, count: count, by: pooler, poolerBias, inputs: C, into: result.pooled, on: compute)
        if usesTanh {
            for i in 0..<count * C { result.activated[i] = tanhf(result.pooled[i]) }
        } else {
            GELU.forward(
                result.pooled.pointer, count: count * C, into: result.activated.pointer,
                on: compute)
        }
        Self.multiply(
            result.activated.pointer, count: count, by: classifier, classifierBias, inputs: C,
            into: result.logits, on: compute)
        return result
    }

    /// Adds the gradients of what `adapter` trains of the head.
    ///
    /// - dLogits: the gradient of z [count, outputs].
    /// - h: the forward pass's input [count, hidden].
    /// - Returns: the gradient of h [count, hidden].
    func backward(
        _ dLogits: Buffer<Float>, h: UnsafePointer<Float>, _ forward: Activations, count: Int,
        adapter: any TrainableLowRankDeltas, on compute: Compute
    ) -> Buffer<Float> {
        let C = hiddenSize
        let gradients = names.map { adapter.gradient(ofTensor: $0) }
        let (d, dh) = (Buffer<Float>(count * C), Buffer<Float>(count * C))
        Self.backward(
            dLogits.pointer, x: forward.activated.pointer, count: count, by: classifier,
            outputs: outputs, inputs: C, dWeight: gradients[2], dBias: gradients[3],
            into: d.pointer, on: compute)
        if usesTanh {
            for i in 0..<d.count { d[i] *= 1 - forward.activated[i] * forward.activated[i] }
        } else {
            GELU.backward(d.pointer, x: forward.pooled.pointer, count: d.count, on: compute)
        }
        Self.backward(
            d.pointer, x: h, count: count, by: pooler, outputs: C, inputs: C,
            dWeight: gradients[0], dBias: gradients[1], into: dh.pointer, on: compute)
        return dh
    }

    // Y = X Wᵀ + b, divided among threads by outputs.
    private static func multiply(
        _ x: UnsafePointer<Float>, count: Int, by w: Buffer<Float>, _ b: Buffer<Float>,
        inputs: Int, into y: Buffer<Float>, on compute: Compute
    ) {
        let outputs = b.count
        for row in 0..<count { (y.pointer + row * outputs).update(from: b.pointer, count: outputs) }
        compute.pool.split(outputs, by: 16) { thread, begin, end in
            DenseProduct.multiply(
                rows: count, columns: end - begin, inner: inputs, x, lda: inputs,
                w.pointer + begin * inputs, .transposed, ldb: inputs, accumulate: true,
                into: y.pointer + begin, ldc: outputs, thread: thread, on: compute)
        }
    }

    // dW += dYᵀ X, db += Σ dY, dX = dY W.
    private static func backward(
        _ dy: UnsafePointer<Float>, x: UnsafePointer<Float>, count: Int, by w: Buffer<Float>,
        outputs: Int, inputs: Int, dWeight: Buffer<Float>?, dBias: Buffer<Float>?,
        into dx: UnsafeMutablePointer<Float>, on compute: Compute
    ) {
        if let dWeight {
            compute.pool.split(outputs, by: 16) { thread, begin, end in
                DenseProduct.multiply(
                    rows: end - begin, columns: inputs, inner: count, dy + begin, .transposed,
                    lda: outputs, x, ldb: inputs, accumulate: true,
                    into: dWeight.pointer + begin * inputs, ldc: inputs, thread: thread,
                    on: compute)
            }
        }
        if let dBias {
            for row in 0..<count {
                compute.kernels.axpy(1, dy + row * outputs, outputs, dBias.pointer)
            }
        }
        compute.pool.split(inputs, by: 16) { thread, begin, end in
            DenseProduct.multiply(
                rows: count, columns: end - begin, inner: outputs, dy, lda: outputs,
                w.pointer + begin, ldb: inputs, into: dx + begin, ldc: inputs, thread: thread,
                on: compute)
        }
    }
}
