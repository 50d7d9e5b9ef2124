public import LorikeetQuant

/// `count` reproducible numbers, roughly normal with deviation 0.6 (the sum of four uniform ones).
public func noise(_ count: Int, seed: UInt64 = 1) -> Buffer<Float> {
    let values = Buffer<Float>(count)
    var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    for i in 0..<count {
        var sum: Float = -2
        for _ in 0..<4 {
            // xorshift64*, Vigna 2016
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            sum += Float((state &* 0x2545_f491_4f6c_dd1d) >> 40) * 0x1p-24
        }
        values[i] = sum
    }
    return values
}
