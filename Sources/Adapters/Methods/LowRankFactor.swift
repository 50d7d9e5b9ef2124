import LorikeetQuant
import LorikeetRuntime
import QuantKernels

/// A factor or whatever has its shape (a gradient, a moment), as the wide matrix F [rank, n]: A as it
/// lies, or Bᵀ, as whose transpose B lies.
///
/// One algebra serves both sides of the product: what is M A for A is B Mᵀ for B.
struct LowRankFactor {
    /// The elements; their buffer is kept by whoever made this.
    let pointer: UnsafeMutablePointer<Float>
    /// r.
    let rank: Int
    /// The layer's width at this factor.
    let n: Int
    /// Whether F lies as its transpose.
    let isTall: Bool

    /// A or dA, [rank, n].
    init(wide buffer: Buffer<Float>, rank: Int) {
        self.init(buffer.pointer, rank: rank, n: buffer.count / rank, isTall: false)
    }

    /// B or dB, [n, rank].
    init(tall buffer: Buffer<Float>, rank: Int) {
        self.init(buffer.pointer, rank: rank, n: buffer.count / rank, isTall: true)
    }

    private init(_ pointer: UnsafeMutablePointer<Float>, rank: Int, n: Int, isTall: Bool) {
        (self.pointer, self.rank, self.n, self.isTall) = (pointer, rank, n, isTall)
    }

    /// The matrix of this shape that lies at the beginning of `buffer`.
    func like(_ buffer: Buffer<Float>) -> LowRankFactor {
        precondition(buffer.count >= count, "\(buffer.count) elements for \(rank) × \(n)")
        return LowRankFactor(buffer.pointer, rank: rank, n: n, isTall: isTall)
    }

    /// The number of elements.
    var count: Int { rank * n }

    /// The same matrix as the kernels take it.
    var kernelFactor: quant_factor {
        quant_factor(data: pointer, rank: rank, n: n, is_tall: isTall ? 1 : 0)
    }
}

extension TrainableAdapter.Module {
    /// A and Bᵀ.
    var factors: (a: LowRankFactor, b: LowRankFactor) {
        (
            LowRankFactor(wide: delta.a, rank: delta.rank),
            LowRankFactor(tall: delta.b, rank: delta.rank)
        )
    }

    /// dA and dBᵀ.
    var factorGradients: (a: LowRankFactor, b: LowRankFactor) {
        (
            LowRankFactor(wide: gradient.a, rank: delta.rank),
            LowRankFactor(tall: gradient.b, rank: delta.rank)
        )
    }
}

/// What one thread needs to work on factors: products that decide a direction are summed in float64,
/// those that only carry one along in fp32.
struct FactorAlgebra {
    private let compute: Compute
    private let thread: Int
    private let scratch: Buffer<Double>
    // A matrix [rank, rank] in fp32
    private let small: Buffer<Float>

    /// One for each thread of `compute`, for factors of one rank.
    static func ofThreads(rank: Int, _ compute: Compute) -> [FactorAlgebra] {
        (0..<compute.pool.count).map { FactorAlgebra(rank: rank, thread: $0, compute: compute) }
    }

    private init(rank: Int, thread: Int, compute: Compute) {
        (self.compute, self.thread) = (compute, thread)
        scratch = Buffer(uninitialized: quant_factor_scratch(rank))
        small = Buffer(rank * rank)
    }

    /// ‖F‖, Frobenius.
    func norm(_ f: LowRankFactor) -> Double {
        compute.kernels.sum_of_squares(f.pointer, f.count).squareRoot()
    }

    /// F Fᵀ in float64.
    func gram(_ f: LowRankFactor) -> SymmetricMatrix {
        var factor = f.kernelFactor
        var elements = [Double](repeating: 0, count: f.rank * f.rank)
        compute.kernels.factor_gram(&factor, &elements, scratch.pointer)
        return SymmetricMatrix(size: f.rank, elements: elements)
    }

    /// F ← M F in float64, rounded once.
    func multiply(_ f: LowRankFactor, by m: SymmetricMatrix) {
        var factor = f.kernelFactor
        compute.kernels.factor_multiply(m.elements, &factor, scratch.pointer)
    }

    /// F ← c F.
    func scale(_ f: LowRankFactor, by c: Double) {
        compute.kernels.scale(Float(c), f.count, f.pointer)
    }

    /// F Gᵀ in fp32.
    func product(_ f: LowRankFactor, _ g: LowRankFactor) -> SquareMatrix {
        precondition(f.n == g.n && f.isTall == g.isTall, "factors of two layers")
        DenseProduct.multiply(
            rows: f.rank, columns: f.rank, inner: f.n, f.pointer,
            f.isTall ? .transposed : .plain, lda: f.isTall ? f.rank : f.n, g.pointer,
            f.isTall ? .plain : .transposed, ldb: f.isTall ? f.rank : f.n, into: small.pointer,
            ldc: f.rank, thread: thread, on: compute)
        return SquareMatrix(size: f.rank, elements: small.elements.map(Double.init))
    }

    /// F (+)= c M G in fp32; G is another buffer than F.
    func multiply(
        _ g: LowRankFactor, by m: SquareMatrix, scale c: Double = 1, into f: LowRankFactor,
        accumulate: Bool
    ) {
        precondition(f.n == g.n && f.isTall == g.isTall, "factors of two layers")
        for (index, element) in m.elements.enumerated() { small[index] = Float(element) }
        let (r, n) = (f.rank, f.n)
        if f.isTall {
            DenseProduct.multiply(
                rows: n, columns: r, inner: r, alpha: Float(c), g.pointer, lda: r,
                small.pointer, .transposed, ldb: r, accumulate: accumulate,
                into: f.pointer, ldc: r, thread: thread, on: compute)
        } else {
            DenseProduct.multiply(
                rows: r, columns: n, inner: r, alpha: Float(c), small.pointer, lda: r,
                g.pointer, ldb: n, accumulate: accumulate, into: f.pointer, ldc: n,
                thread: thread, on: compute)
        }
    }
}
