// NF4 quantization of a 4096 × 4096 fp32 tensor in memory, as peers/bitsandbytes_quantize.py times it;
// prints one JSON object.
import LorikeetQuant

let (side, repeats) = (4096, 15)
let compute = Compute()
let weights = Buffer<Float>(side * side)
var state: UInt64 = 88_172_645_463_325_252
for i in 0..<weights.count {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    weights[i] = Float(Int64(bitPattern: state) >> 40) * 0x1p-24
}
let clock = ContinuousClock()
let samples = (0..<repeats).map { _ in
    clock.measure {
        _ = QuantizedTensor(
            quantizing: UnsafeBufferPointer(weights.elements), shape: [side, side], on: compute)
    } / .seconds(1)
}
print("{\"quantize_weights_per_second\": \(Double(weights.count) / samples.sorted()[repeats / 2])}")
