package import LorikeetQuant
import QuantKernels

/// The second moments of a linear layer's inputs over a text, and of something else with them:
/// H = Σ x xᵀ / tokens and G = Σ y xᵀ / tokens.
///
/// Sums are in fp32, a chunk of tokens at a time: what they serve, a least-squares problem that is damped by a
/// hundredth, asks no more of them.
package final class InputMoments {
    /// H [columns, columns]; whole after `finish`.
    package let gram: Buffer<Float>
    /// G [rows, columns].
    package let cross: Buffer<Float>
    /// Whether y is a layer's output rather than another input.
    package let isOfOutputs: Bool
    /// The length of x.
    package let columns: Int
    /// The length of y.
    package let rows: Int
    private let compute: Compute
    private var tokens = 0

    // Rows and columns of the moments that a thread computes at once: enough that each float it loads is
    // multiplied often, and pieces enough for all threads.
    private static let tile = 192

    private struct Tile {
        let isGram: Bool
        let rows: Range<Int>
        let columns: Range<Int>
    }
    private let tiles: [Tile]

    /// Zeros.
    ///
    /// - columns: the length of x.
    /// - rows: the length of y.
    /// - isOfOutputs: what y is.
    package init(columns: Int, rows: Int, isOfOutputs: Bool, on compute: Compute) {
        self.isOfOutputs = isOfOutputs
        self.columns = columns
        self.rows = rows
        self.compute = compute
        gram = Buffer(columns * columns)
        cross = Buffer(rows * columns)
        func ranges(_ count: Int) -> [Range<Int>] {
            stride(from: 0, to: count, by: Self.tile).map { $0..<min($0 + Self.tile, count) }
        }
        let across = ranges(columns)
        tiles =
            across.indices.flatMap { i in
                (0...i).map { Tile(isGram: true, rows: across[i], columns: across[$0]) }
            }
            + ranges(rows).flatMap { rows in
                across.map { Tile(isGram: false, rows: rows, columns: $0) }
            }
    }

    /// Adds tokens.
    ///
    /// - x: [count, columns]
    /// - y: [count, rows]
    package func add(_ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, count: Int) {
        tokens += count
        compute.pool.run(pieces: tiles.count) { thread, index in
            let tile = tiles[index]
            let (left, width) = tile.isGram ? (x, columns) : (y, rows)
            let sum = (tile.isGram ? gram : cross).pointer
            DenseProduct.multiply(
                rows: tile.rows.count, columns: tile.columns.count, inner: count,
                left + tile.rows.lowerBound, .transposed, lda: width,
                x + tile.columns.lowerBound, ldb: columns, accumulate: true,
                into: sum + tile.rows.lowerBound * columns + tile.columns.lowerBound, ldc: columns,
                thread: thread, on: compute)
        }
    }

    /// Makes means of the sums, and H whole.
    package func finish() {
        let share = 1 / Float(max(tokens, 1))
        compute.kernels.scale(share, gram.count, gram.pointer)
        compute.kernels.scale(share, cross.count, cross.pointer)
        for i in 0..<columns {
            for j in 0..<i { gram[j * columns + i] = gram[i * columns + j] }
        }
    }
}
