import LorikeetQuant
import QuantKernels

/// The loss of a sequence's outputs and its gradient: cross-entropy of a class, or the squared error of a number.
struct SequenceLoss {
    /// ε: as in `CrossEntropy`.
    var labelSmoothing = 0.0

    /// The loss of `z`, and d loss / d z in its place.
    ///
    /// - Throws: `.mismatch` where the outputs are not of the target's kind.
    func differentiate(
        _ z: UnsafeMutableBufferPointer<Float>, _ target: TrainingRow.Target, on compute: Compute
    ) throws -> Double {
        switch target {
        case .value(let value):
            guard z.count == 1 else {
                throw LorikeetError(
                    .mismatch, "a number as target", "the head has one output for numbers",
                    expected: "1", got: "\(z.count)")
            }
            let error = z[0] - value
            z[0] = 2 * error
            return Double(error) * Double(error)
        case .label(let label):
            guard z.count > 1, z.indices.contains(label) else {
                throw LorikeetError(
                    .mismatch, "class \(label)", "the head has no such output",
                    expected: z.count > 1 ? "0 to \(z.count - 1)" : "a number: it has one output")
            }
            guard let base = z.baseAddress else { return 0 }
            let (count, smoothing) = (Double(z.count), labelSmoothing)
            let mean = z.reduce(0) { $0 + Double($1) } / count
            let logit = Double(z[label])
            let logSum = Double(compute.kernels.softmax(base, z.count, 1))
            for i in z.indices { z[i] -= Float(smoothing / count) }
            z[label] -= Float(1 - smoothing)
            return logSum - (1 - smoothing) * logit - smoothing * mean
        }
    }
}
