import LorikeetQuant
import QuantKernels

/// Eight rows of eight adapters, of ranks 4 to 64, in layers of 4096 × 4096: the low-rank terms alone.
///
/// The layers' factors are more than the processor's caches hold, as those of a model are.
func measureLowRank(on compute: Compute, _ ceiling: Ceiling) -> Row {
    let (layers, width) = (24, 4096)
    let adapters = mixedRanks.map { rank in
        (0..<layers).map { _ in randomFactors(rank: rank, inputs: width, outputs: width, compute) }
    }
    let count = mixedRanks.count
    let x = Buffer(repeatElement(Float(0.5), count: count * width))
    let u = Buffer<Float>(count * (mixedRanks.max() ?? 0))
    let y = Buffer<Float>(count * width)
    let most = u.count / count
    let bytes = adapters.joined().reduce(0) { $0 + $1.memory }
    return ceiling.reading("low-rank terms, 8 rows of 8 adapters", bytes: bytes, on: compute) {
        for layer in 0..<layers {
            // A piece is 16 ranks or 256 outputs of a row.
            let pieces = most / 16
            compute.pool.run(pieces: count * pieces) { _, piece in
                let (row, ranks) = (piece / pieces, piece % pieces * 16)
                let term = adapters[row][layer].raw
                guard ranks < term.rank else { return }
                withUnsafePointer(to: term) {
                    compute.kernels.low_rank_down(
                        $0, x.pointer + row * width, width, 1, ranks, min(ranks + 16, term.rank),
                        u.pointer + row * most, most)
                }
            }
            compute.pool.run(pieces: count * 16) { _, piece in
                let (row, outputs) = (piece / 16, piece % 16 * width / 16)
                withUnsafePointer(to: adapters[row][layer].raw) {
                    compute.kernels.low_rank_up(
                        $0, u.pointer + row * most, most, 1, outputs, outputs + width / 16,
                        y.pointer + row * width, width)
                }
            }
        }
    }
}

/// Ranks of eight adapters that requests come with; 26 on average.
let mixedRanks = [4, 8, 12, 16, 24, 32, 48, 64]

/// Factors without a meaning.
private func randomFactors(
    rank: Int, inputs: Int, outputs: Int, _ compute: Compute
) -> LowRankFactors {
    let a = Buffer((0..<rank * inputs).map { Float($0 % 13) - 6 })
    let b = Buffer((0..<outputs * rank).map { Float($0 % 11) - 5 })
    return LowRankFactors(a: a, b: b, rank: rank, scale: 1e-3, on: compute)
}
