public import LorikeetQuant
public import LorikeetRuntime
import QuantKernels
import Synchronization

/// The norms of the rows of W + s B A over one base, of which no row is ever made.
///
///     ‖Wᵢ + s bᵢ A‖² = ‖Wᵢ‖² + 2 s (W Aᵀ)ᵢ · bᵢ + s² bᵢ (A Aᵀ) bᵢᵀ
///
/// ‖Wᵢ‖² is computed once a layer and kept, and W Aᵀ is one product of r columns with the packed weights,
/// in their precision; all sums are in float64. Where s bᵢ A takes almost all of Wᵢ away, what is left is the
/// product's rounding, and a square that comes out negative counts as 0.
///
/// Any thread may ask; one is served at a time.
public final class RowNorms: Sendable {
    private let compute: Compute
    private let weight: @Sendable (ModulePath) -> LinearWeight?
    private let state: Mutex<State>

    private struct State {
        /// ‖Wᵢ‖² [out] of the layers that were asked for.
        var squares: [ModulePath: Buffer<Double>] = [:]
        let activations: Activations
        /// (W Aᵀ)ᵀ [rank, out].
        var product = Buffer<Float>(0)
        /// A Aᵀ [rank, rank], and what computing it takes.
        var gram = Buffer<Double>(0)
        var scratch = Buffer<Double>(0)

        /// Makes room for a layer's products; allocates only when a larger one than before comes.
        mutating func reserve(outputs: Int, rank: Int) {
            if product.count < outputs * rank { product = Buffer(outputs * rank) }
            guard gram.count < rank * rank else { return }
            gram = Buffer(rank * rank)
            scratch = Buffer(quant_factor_scratch(rank))
        }
    }

    /// Bytes once the layers of these shapes have been asked for, less inputs in integers.
    static func memory(_ shapes: [TrainableAdapter.Shape], rank: Int) -> Int {
        let widest = shapes.map(\.outputSize).max() ?? 0
        return shapes.reduce(0) { $0 + Buffer<Double>.memory($1.outputSize) }
            + Buffer<Float>.memory(widest * rank) + Buffer<Double>.memory(rank * rank)
            + Buffer<Double>.memory(quant_factor_scratch(rank))
    }

    /// The norms over `model`.
    public convenience init(_ model: DecoderModel, on compute: Compute) {
        self.init(on: compute) { model.weight(at: $0) }
    }

    /// The norms over the weights that `weight` tells.
    public init(
        on compute: Compute, weight: @escaping @Sendable (_ path: ModulePath) -> LinearWeight?
    ) {
        self.compute = compute
        self.weight = weight
        state = Mutex(State(activations: Activations(on: compute)))
    }

    /// ‖Wᵢ + s bᵢ A‖ of every row of the layer at `path`.
    ///
    /// - delta: A, B and s.
    /// - norms: [out]
    public func compute(
        _ delta: LowRankDelta, at path: ModulePath, into norms: Buffer<Float>
    ) {
        guard let weight = weight(path) else {
            preconditionFailure("the base has no \(path)")
        }
        let (O, r) = (weight.rows, delta.rank)
        precondition(
            norms.count == O && delta.b.count == O * r && delta.a.count == weight.columns * r,
            "\(norms.count) norms, factors of \(delta.a.count) and \(delta.b.count) at rank \(r) over "
                + "\(O) × \(weight.columns)")
        state.withLock { state in
            let squares = state.squares[path] ?? weight.squaredRowNorms(on: compute)
            state.squares[path] = squares
            state.reserve(outputs: O, rank: r)
            let (p, gram) = (state.product.pointer, state.gram.pointer)
            LinearWeight.multiply(
                [weight], delta.a.pointer, count: r, using: state.activations, on: compute
            ) { _ in p }
            var a = quant_factor(
                data: delta.a.pointer, rank: r, n: weight.columns, is_tall: 0)
            compute.kernels.factor_gram(&a, gram, state.scratch.pointer)
            let (s, b) = (Double(delta.scale), delta.b.pointer)
            compute.pool.split(O) { _, begin, end in
                withUnsafeTemporaryAllocation(of: Double.self, capacity: r) { v in
                    for i in begin..<end {
                        // v = 2 s (W Aᵀ)ᵢ + s² bᵢ (A Aᵀ), and v · bᵢ is what B A adds.
                        for l in 0..<r { v[l] = 2 * s * Double(p[l * O + i]) }
                        for k in 0..<r {
                            let factor = s * s * Double(b[i * r + k])
                            let row = gram + k * r
                            for l in 0..<r { v[l] += factor * row[l] }
                        }
                        let square = (0..<r).reduce(squares[i]) {
                            $0 + v[$1] * Double(b[i * r + $1])
                        }
                        norms[i] = Float(max(square, 0).squareRoot())
                    }
                }
            }
        }
    }
}
