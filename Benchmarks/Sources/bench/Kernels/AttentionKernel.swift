import LorikeetQuant
import QuantKernels

/// A token's attention over caches of halves, 2048 positions deep, in the shape of Llama 3 8B.
///
/// Every block has its cache: together they are more than the processor's caches hold, as they are when
/// a token is decoded.
func measureAttention(on compute: Compute, _ ceiling: Ceiling) -> Row {
    let (blocks, positions, heads, headSize, group) = (24, 2048, 8, 128, 4)
    let width = heads * headSize
    let caches = (0..<blocks).map { _ in
        (Buffer<UInt16>(positions * width), Buffer<UInt16>(positions * width))
    }
    for (keys, values) in caches {
        // 1.0 as a half.
        keys.pointer.update(repeating: 0x3c00, count: keys.count)
        values.pointer.update(repeating: 0x3c00, count: values.count)
    }
    let q = Buffer<Float>(width * group)
    // A head's positions are divided among the threads, 256 at a time.
    let part = 256
    let parts = positions / part
    let o = Buffer<Float>(parts * width * group)
    let (tops, sums) = (Buffer<Float>(parts * heads * group), Buffer<Float>(parts * heads * group))
    let scale = 1 / Float(headSize).squareRoot()
    let bytes = blocks * 2 * positions * width * MemoryLayout<UInt16>.stride
    return ceiling.reading("attention behind \(positions)", bytes: bytes, on: compute) {
        for (keys, values) in caches {
            let kv = quant_kv(
                keys: keys.pointer, values: values.pointer, kv_heads: heads, head_size: headSize)
            compute.pool.run(pieces: parts * heads) { thread, piece in
                let (index, head) = (piece / heads, piece % heads)
                let query = head * group * headSize
                let statistics = piece * group
                withUnsafePointer(to: kv) { kv in
                    compute.kernels.attend(
                        kv, head, q.pointer + query, width * group, 1, group, positions - 1,
                        index * part, (index + 1) * part, scale,
                        o.pointer + index * width * group + query, width * group,
                        tops.pointer + statistics, sums.pointer + statistics,
                        compute.scratch(thread))
                }
            }
        }
    }
}
