import LorikeetQuant
public import LorikeetRuntime

/// What storing merged weights leaves of an adapter's change in one layer.
///
/// With the base's weights W, the change Δ = W' − W that the adapter asks for, and Q what storing rounds to,
///
///     share = ⟨Q(W + Δ) − Q(W), Δ⟩ / ‖Δ‖²
///
/// is how far the stored weights moved along Δ: 1 where all of it is there, 0 where nothing is. What else moved is
/// rounding, noise = ‖Q(W + Δ) − Q(W) − share · Δ‖ / ‖Δ‖. For weights in 4 bits Q(W) is W: they lie on the grid
/// already.
public struct MergeSurvival: Sendable {
    /// The layer.
    public let path: ModulePath
    /// ‖Δ‖².
    public let change: Double
    /// ⟨Q(W + Δ) − Q(W), Δ⟩.
    public let kept: Double
    /// ‖Q(W + Δ) − Q(W)‖².
    public let moved: Double

    /// The share of the change that survives; 1 where there is no change to lose.
    public var share: Double { change > 0 ? kept / change : 1 }

    /// The rounding beside it, in units of the change; 0 where there is no change.
    public var noise: Double {
        change > 0 ? (max(moved - share * kept, 0) / change).squareRoot() : 0
    }

    /// The share of all layers together: Σ kept / Σ change.
    public static func share(of survivals: [MergeSurvival]) -> Double {
        let change = survivals.reduce(0) { $0 + $1.change }
        return change > 0 ? survivals.reduce(0) { $0 + $1.kept } / change : 1
    }

    /// Compares the weights of one layer [rows, columns].
    ///
    /// - original: W; wanted: W + Δ; stored: Q(W + Δ); reference: Q(W).
    init(
        _ path: ModulePath, rows: Int, original: Buffer<Float>, wanted: Buffer<Float>,
        stored: Buffer<Float>, reference: Buffer<Float>, on compute: Compute
    ) {
        self.path = path
        let columns = original.count / rows
        // A row at a time, added up in order: the same sums on any number of threads.
        let sums = Buffer<SIMD4<Double>>(rows)
        compute.pool.split(rows) { _, begin, end in
            for row in begin..<end {
                var sum = SIMD4<Double>.zero
                for i in row * columns..<(row + 1) * columns {
                    let change = Double(wanted[i]) - Double(original[i])
                    let moved = Double(stored[i]) - Double(reference[i])
                    sum += SIMD4(change * change, moved * change, moved * moved, 0)
                }
                sums[row] = sum
            }
        }
        let sum = sums.elements.reduce(.zero, +)
        (change, kept, moved) = (sum[0], sum[1], sum[2])
    }
}
