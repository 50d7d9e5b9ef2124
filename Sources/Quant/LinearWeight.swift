import QuantKernels

/// The weight of a linear layer, in the form that its products read.
public enum LinearWeight: Sendable {
    /// As a checkpoint stores it: products in fp32.
    case stored(WeightMatrix)
    /// Rearranged for integer products.
    case tiled(TiledMatrix)

    /// The form for the precision of what `tiling` computes on: tiles, unless it is fp32 or they do not
    /// fit.
    ///
    /// - Parameters:
    ///   - matrix: the weights as they are stored.
    ///   - roundsFloats: whether weights that are not quantized may be rounded to 8 bits for tiles. An
    ///     output projection loses nothing that shows; all layers of a model together do.
    ///   - tiling: what makes the tiles; they are there when it has finished.
    ///   - done: called with rows of `matrix` that tiles have taken the place of, by any thread.
    public init(
        _ matrix: WeightMatrix, roundsFloats: Bool = false, in tiling: Tiling,
        done: @escaping (_ rows: Range<Int>) -> Void = { _ in }
    ) {
        let isTiled = Self.becomesTiles(
            matrix.layout, roundsFloats: roundsFloats, precision: tiling.compute.precision)
        self =
            isTiled ? .tiled(TiledMatrix(matrix, in: tiling, done: done)) : .stored(matrix)
    }

    /// Whether a matrix of this layout is held as tiles.
    public static func becomesTiles(
        _ matrix: WeightLayout, roundsFloats: Bool, precision: Precision
    ) -> Bool {
        precision != .fp32 && TiledMatrix.fits(matrix) && (matrix.isQuantized || roundsFloats)
    }

    /// Bytes that a product with a matrix of this layout reads.
    public static func memory(
        _ matrix: WeightLayout, roundsFloats: Bool, precision: Precision
    ) -> Int {
        becomesTiles(matrix, roundsFloats: roundsFloats, precision: precision)
            ? TiledMatrix.memory(matrix) : matrix.memory
    }

    /// The form for the precision of `compute`, made at once.
    public init(_ matrix: WeightMatrix, roundsFloats: Bool = false, on compute: Compute) {
        let tiling = Tiling(on: compute)
        self.init(matrix, roundsFloats: roundsFloats, in: tiling)
        tiling.finish()
    }

    /// Output features.
    public var rows: Int {
        switch self {
        case .stored(let matrix): matrix.rows
        case .tiled(let matrix): matrix.rows
        }
    }

    /// Input features.
    public var columns: Int {
        switch self {
        case .stored(let matrix): matrix.columns
        case .tiled(let matrix): matrix.columns
        }
    }

    /// Bytes that a product reads.
    public var memory: Int {
        switch self {
        case .stored(let matrix): matrix.memory
        case .tiled(let matrix): matrix.memory
        }
    }

    private var isTiled: Bool {
        if case .tiled = self { true } else { false }
    }

    // Outputs that are not divided among threads: the largest panel of the fp32 kernels and two rows of
    // tiles, or the panel of the integer products with many rows.
    private static func unit(tiled: Bool, count: Int) -> Int {
        tiled && count >= Activations.manyRows ? 64 : 32
    }

    /// Yᵢ (+)= X Wᵢᵀ for weights with the same input, and low-rank terms: one region for all.
    ///
    /// Every bit of a row's result depends on that row and its terms alone, and in fp32 on whether it is
    /// the only one, unless `compute` is batch-invariant.
    ///
    /// - Parameters:
    ///   - weights: one or more, of equal `columns`.
    ///   - x: [count, columns]
    ///   - count: rows of X.
    ///   - accumulate: whether the products are added to what the results hold.
    ///   - terms: low-rank terms of some rows.
    ///   - activations: memory for X in integers.
    ///   - compute: what to run on.
    ///   - output: Yᵢ [count, rows of the i-th weight].
    public static func multiply(
        _ weights: [LinearWeight], _ x: UnsafePointer<Float>, count: Int, accumulate: Bool = false,
        terms: LowRankProduct? = nil, using activations: Activations, on compute: Compute,
        into output: (Int) -> UnsafeMutablePointer<Float>
    ) {
        terms?.prepare(for: weights, accumulate: accumulate)
        let columns = weights[0].columns
        let isTiled = weights.contains(where: \.isTiled)
        let unit = unit(tiled: isTiled, count: count)
        func units(_ weight: LinearWeight) -> Int { (weight.rows + unit - 1) / unit }
        let total = weights.reduce(0) { $0 + units($1) }
        // With terms of a few rows, outputs that are computed while the factors behind them are fetched.
        let step = terms == nil || count >= Activations.manyRows ? total : max(2, 16 / count)
        func run(
            _ thread: Int, _ outputs: Range<Int>, _ rows: Range<Int>,
            _ prepared: UnsafePointer<quant_activations>?
        ) {
            var first = 0
            for (i, weight) in weights.enumerated() {
                precondition(weight.columns == columns, "weights of different inputs")
                let from = max(outputs.lowerBound - first, 0)
                let to = min(outputs.upperBound - first, units(weight))
                first += units(weight)
                guard from < to else { continue }
                let place = first - units(weight)
                for begin in stride(from: from, to: to, by: step) {
                    let end = min(begin + step, to)
                    let (y, outputs) = (output(i), begin * unit..<min(end * unit, weight.rows))
                    if step < total {
                        terms?.fetch(
                            of: i, outputs: outputs, share: place + begin..<place + end, of: total)
                    }
                    if accumulate { terms?.putAside(y, of: i, outputs: outputs, rows: rows) }
                    weight.multiplyRows(
                        outputs, x + rows.lowerBound * columns, count: rows.count, prepared,
                        accumulate: accumulate ? 1 : 0, into: y + rows.lowerBound * weight.rows,
                        thread: thread, on: compute)
                    terms?.add(
                        to: y, of: i, outputs: outputs, rows: rows, restores: accumulate,
                        on: compute)
                }
            }
        }
        let lead = terms?.claimCount ?? 0
        func project(_ thread: Int, _ claim: Int) { terms?.project(claim, x, on: compute) }
        if isTiled {
            activations.withPrepared(
                x, count: count, columns: columns, units: total, on: compute, after: lead,
                first: project
            ) { run($0.thread, $0.units, $0.rows, $0.prepared) }
        } else {
            compute.pool.split(total, after: lead, first: project) {
                run($0, $1..<$2, 0..<count, nil)
            }
        }
    }

    private func multiplyRows(
        _ rows: Range<Int>, _ x: UnsafePointer<Float>, count: Int,
        _ prepared: UnsafePointer<quant_activations>?, accumulate: Int32,
        into y: UnsafeMutablePointer<Float>, thread: Int, on compute: Compute
    ) {
        switch self {
        case .stored(let matrix):
            withUnsafePointer(to: matrix.raw) { w in
                if count == 1, !compute.isBatchInvariant {
                    compute.kernels.matvec(w, x, rows.lowerBound, rows.upperBound, y, accumulate)
                } else {
                    compute.kernels.matmul(
                        w, x, count, columns, rows.lowerBound, rows.upperBound, y, matrix.rows,
                        accumulate, compute.scratch(thread))
                }
            }
        case .tiled(let matrix):
            withUnsafePointer(to: matrix.raw) { w in
                compute.kernels.matmul_tiles(
                    w, prepared, rows.lowerBound, rows.upperBound, y, matrix.rows, accumulate,
                    compute.scratch(thread))
            }
        }
    }

    /// dX = dY W, or dX += dY W.
    ///
    /// - Parameters:
    ///   - dy: [count, rows]
    ///   - count: rows of dY.
    ///   - dx: [count, columns]
    ///   - accumulate: whether the product is added to what `dx` holds.
    ///   - activations: memory for dY in integers.
    ///   - compute: what to run on.
    public func multiplyBackward(
        _ dy: UnsafePointer<Float>, count: Int, into dx: UnsafeMutablePointer<Float>,
        accumulate: Bool, using activations: Activations, on compute: Compute
    ) {
        switch self {
        case .stored(let matrix):
            compute.pool.split(columns, by: 64) { thread, begin, end in
                withUnsafePointer(to: matrix.raw) { w in
                    compute.kernels.matmul_backward(
                        w, dy, count, rows, begin, end, dx, columns, accumulate ? 1 : 0,
                        compute.scratch(thread))
                }
            }
        case .tiled(let matrix):
            precondition(compute.precision == .int16, "gradients need 16 bits")
            activations.withPrepared(
                dy, count: count, columns: rows, units: columns / 64, on: compute
            ) { piece in
                withUnsafePointer(to: matrix.raw) { w in
                    compute.kernels.matmul_tiles_backward(
                        w, piece.prepared, 64 * piece.units.lowerBound,
                        64 * piece.units.upperBound, dx + piece.rows.lowerBound * columns, columns,
                        accumulate ? 1 : 0, compute.scratch(piece.thread))
                }
            }
        }
    }
}
