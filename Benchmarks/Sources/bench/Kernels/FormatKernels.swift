import LorikeetQuant

/// Quantizing and dequantizing NF4, from memory and into it.
func measureFormat(on compute: Compute, _ ceiling: Ceiling) -> [Row] {
    // 64 M weights, which no cache holds.
    let (rows, columns) = (1 << 14, 1 << 12)
    let count = rows * columns
    let floats = Buffer<Float>(count)
    floats.pointer.update(repeating: 0.3, count: count)
    let quantizing = seconds(runs: 3) {
        _ = QuantizedTensor(
            quantizing: UnsafeBufferPointer(floats.elements), shape: [rows, columns], on: compute)
    }
    let matrix = randomWeights(rows: rows, columns: columns, on: compute)
    let dequantizing = seconds(runs: 3) {
        compute.pool.split(count, by: 4096) { _, begin, end in
            withUnsafePointer(to: matrix.raw) {
                compute.kernels.dequantize_f32($0, begin, end - begin, floats.pointer + begin)
            }
        }
    }
    // Bytes a weight: the float, the code, and a scale to every 64.
    let bytes = 4 + 0.5 + 4.0 / 64
    let most = ceiling.bandwidth / bytes / 1e9
    return [
        Row(
            "quantize fp32", on: compute, Double(count) / quantizing / 1e9, "G weights/s",
            ceiling: most),
        Row(
            "dequantize to fp32", on: compute, Double(count) / dequantizing / 1e9, "G weights/s",
            ceiling: most),
    ]
}

/// Random weights [rows, columns] in NF4, quantized by the library itself.
func randomWeights(rows: Int, columns: Int, on compute: Compute) -> WeightMatrix {
    let floats = Buffer<Float>(rows * columns)
    var state: UInt64 = 88_172_645_463_325_252
    for i in 0..<floats.count {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        floats[i] = Float(Int64(bitPattern: state) >> 40) * 0x1p-24
    }
    return withExtendedLifetime(floats) {
        QuantizedTensor(
            quantizing: UnsafeBufferPointer(floats.elements), shape: [rows, columns], on: compute
        ).weightMatrix()
    }
}
