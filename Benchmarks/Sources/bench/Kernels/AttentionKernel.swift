import LorikeetQuant
import QuantKernels

/// A token's attention over caches of halves, 2048 positions deep, in the shape of Llama 3 8B.
///
/// Every block has its cache: together they are more than the processor's caches hold, as they are when
/// a token is decoded.
func measureAttention(on compute: Compute, _ ceiling: Ceiling) -> Row {
    let (blocks, positions, heads, headSize, group) = (24, 2048, 8, 128, 4)
    let width = heads * headSize
    let page = Int(QUANT_KV_PAGE)
    // 1.0 as a half.
    let pages = (0..<positions / page).map { _ in
        Buffer([UInt16](repeating: 0x3c00, count: blocks * 2 * page * width))
    }
    let table = Buffer(pages.map { Int(bitPattern: $0.pointer) })
    let q = Buffer<Float>(width * group)
    // A head's positions are divided among the threads, 256 at a time.
    let part = 256
    let parts = positions / part
    let o = Buffer<Float>(parts * width * group)
    let (tops, sums) = (Buffer<Float>(parts * heads * group), Buffer<Float>(parts * heads * group))
    let scale = 1 / Float(headSize).squareRoot()
    let bytes = blocks * 2 * positions * width * MemoryLayout<UInt16>.stride
    return ceiling.reading("attention behind \(positions)", bytes: bytes, on: compute) {
        for block in 0..<blocks {
            let kv = quant_kv(
                pages: UnsafeRawPointer(table.pointer)
                    .assumingMemoryBound(to: UnsafeMutablePointer<UInt16>?.self),
                keys: 2 * block * page * width, values: (2 * block + 1) * page * width,
                kv_heads: heads, head_size: headSize)
            compute.pool.run(pieces: parts * heads) { thread, piece in
                let (index, head) = (piece / heads, piece % heads)
                let query = head * group * headSize
                let statistics = piece * group
                var scores = quant_scores(scale: scale, cap: 0, window: .max)
                withUnsafePointer(to: kv) { kv in
                    compute.kernels.attend(
                        kv, head, q.pointer + query, width * group, 1, group, positions - 1,
                        index * part, (index + 1) * part, &scores,
                        o.pointer + index * width * group + query, width * group,
                        tops.pointer + statistics, sums.pointer + statistics,
                        compute.scratch(thread))
                }
            }
        }
    }
}
