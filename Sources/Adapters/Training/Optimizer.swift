public import LorikeetQuant

/// What steps an adapter's parameters along their gradients, with what it remembers of earlier steps.
public protocol Optimizer: AnyObject, Sendable {
    /// t: steps done.
    var stepCount: Int { get }
    /// What the next step follows from beside the parameters and `stepCount`; a checkpoint writes these
    /// tensors, and reads them into the same memory.
    var state: [StateTensor] { get }

    /// Goes on where an optimizer stood that had done `stepCount` steps, once `state` is as it was.
    func resume(stepCount: Int)

    /// One step of every parameter, each at its own learning rate.
    func step(
        _ adapter: TrainableAdapter, learningRateA: Double, learningRateB: Double, compute: Compute)

    /// Lets what is remembered of a layer follow gradients that are from now on `a` and `b` times what
    /// they were, because its factors were rescaled.
    func rescaleGradients(ofModule index: Int, a: Double, b: Double)
}

/// A tensor that a run's next step follows from: a factor, a moment.
public struct StateTensor: Sendable {
    /// The elements, in memory that belongs to their owner.
    public enum Elements: Sendable {
        /// fp32.
        case floats(Buffer<Float>)
        /// fp64.
        case doubles(Buffer<Double>)
    }

    /// What an element can be; a file with others is damaged.
    public enum Range: Sendable {
        /// Any finite number.
        case finite
        /// Zero or more: a mean of squares.
        case nonnegative
        /// More than zero: a scale.
        case positive
    }

    /// Its name in a file.
    public let name: String
    /// Its shape, row-major.
    public let shape: [Int]
    /// Its elements.
    public let elements: Elements
    /// What they can be.
    public let range: Range

    /// Describes a tensor.
    public init(_ name: String, shape: [Int], _ elements: Elements, range: Range = .finite) {
        self.name = name
        self.shape = shape
        self.elements = elements
        self.range = range
    }
}
