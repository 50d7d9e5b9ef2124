/// Makes the tiles of a model's matrices: many matrices in one parallel region.
///
/// A small model has hundreds of small matrices; with a region for each, every thread would wait for the
/// slowest hundreds of times.
///
/// ```swift
/// let tiling = Tiling(on: compute)
/// let weights = matrices.map { LinearWeight($0, in: tiling) }
/// tiling.finish()
/// ```
public final class Tiling {
    let compute: Compute
    let memory = TileMemory()
    private var pieces: [Piece] = []
    private var waiting = 0

    /// Rows of tiles that one thread makes.
    private struct Piece {
        let rows: Range<Int>
        let make: (_ rows: Range<Int>) -> Void
    }

    // A piece of 2^20 weights costs about 0.1 ms, many times what it costs to claim it. Matrices wait
    // with their decoded scales, 4 bytes for 64 weights: 16 MB at most.
    private static let pieceWeights = 1 << 20
    private static let mostWaiting = 1 << 28

    /// No tiles yet.
    public init(on compute: Compute) { self.compute = compute }

    /// Has `make` called for all of the rows of tiles 0 ..< rows, in pieces, by `finish` or before.
    func add(rows: Int, weightsPerRow: Int, make: @escaping (_ rows: Range<Int>) -> Void) {
        let step = max(1, Self.pieceWeights / weightsPerRow)
        for begin in stride(from: 0, to: rows, by: step) {
            pieces.append(Piece(rows: begin..<min(begin + step, rows), make: make))
        }
        waiting += rows * weightsPerRow
        if waiting > Self.mostWaiting { finish() }
    }

    /// Makes what is left to make: only then do the matrices hold anything.
    public func finish() {
        compute.pool.run(pieces: pieces.count) { [pieces] _, index in
            pieces[index].make(pieces[index].rows)
        }
        pieces = []
        waiting = 0
    }
}
