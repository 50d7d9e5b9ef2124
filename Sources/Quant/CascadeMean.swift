/// The mean of `values`, rounded as torch's CPU kernels round it.
///
/// The mean of a tensor's scales is stored with a double-quantized tensor, and the 8-bit codes depend
/// on its last bit; so the order of the additions is part of the format. torch (ATen's SumKernel, 8
/// lanes, one thread) treats the values as rows of 8 lanes × 4 accumulators, and sums each lane of each
/// accumulator in a cascade: groups of at least 16 into level 0, groups of groups into level 1, ….
func cascadeMean(_ values: UnsafeBufferPointer<Float>) -> Float {
    let lanes = values.count >= 8 ? 8 : 1
    let vectors = values.count / lanes
    let rows = vectors / 4
    func vector(_ index: Int) -> SIMD8<Float> {
        if lanes == 1 { return SIMD8(values[index], 0, 0, 0, 0, 0, 0, 0) }
        return UnsafeRawPointer(values.baseAddress! + index * 8)
            .loadUnaligned(as: SIMD8<Float>.self)
    }

    var sums = (0..<4).map { k in cascadeSum(rows) { vector($0 * 4 + k) } }
    for index in rows * 4..<vectors { sums[0] += vector(index) }
    for k in 1..<4 { sums[0] += sums[k] }

    var sum: Float = 0
    for index in vectors * lanes..<values.count { sum += values[index] }
    for lane in 0..<lanes { sum += sums[0][lane] }
    return sum / Float(values.count)
}

private func cascadeSum(_ count: Int, _ term: (Int) -> SIMD8<Float>) -> SIMD8<Float> {
    let levels = 4
    let ceilLog2 = count <= 2 ? 1 : Int.bitWidth - (count - 1).leadingZeroBitCount
    let power = max(4, ceilLog2 / levels)
    let group = 1 << power
    var sums = [SIMD8<Float>](repeating: .zero, count: levels)
    var index = 0
    while index + group <= count {
        for _ in 0..<group {
            sums[0] += term(index)
            index += 1
        }
        for level in 1..<levels {
            sums[level] += sums[level - 1]
            sums[level - 1] = .zero
            // This level's group of groups is not full yet.
            if index & (group - 1) << (level * power) != 0 { break }
        }
    }
    while index < count {
        sums[0] += term(index)
        index += 1
    }
    return sums[1...].reduce(sums[0], +)
}
