import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

struct QuantizedTensorTests {
    @Test(arguments: [1, 7, 63, 64, 65, 191, 1000, 100_001], [64, 256, 4096])
    func `the number of threads does not change a bit`(count: Int, blockSize: Int) {
        let weights = noise(count)
        let results = [1, 2, 3, 8].map { threads in
            let compute = Compute(threads: threads, instructionSet: .supported[0])
            let tensor = QuantizedTensor(
                quantizing: UnsafeBufferPointer(weights.elements), shape: [count],
                configuration: QuantizationConfiguration(
                    blockSize: blockSize, doubleQuantization: false), on: compute)
            return tensor.packed.array.map(Float.init) + tensor.decodedAbsmax().array
        }
        for result in results.dropFirst() { #expect(result == results[0]) }
    }

    @Test func `an empty tensor has no blocks`() {
        for doubleQuantization in [false, true] {
            let tensor = QuantizedTensor(
                quantizing: UnsafeBufferPointer(start: nil, count: 0), shape: [0, 5],
                configuration: QuantizationConfiguration(doubleQuantization: doubleQuantization),
                on: Compute(threads: 2))
            #expect(tensor.packed.count == 0)
            #expect(tensor.decodedAbsmax().count == 0)
        }
    }

    // As bitsandbytes: the scale of a block with NaN is NaN, with infinity infinite; a scaled NaN
    // (infinity times its reciprocal 0) lies in the last interval. Others scale to 0.
    @Test(arguments: InstructionSet.supported, QuantizationFormat.allCases)
    func `what is not finite spoils its own block only`(
        instructionSet: InstructionSet, format: QuantizationFormat
    ) {
        let weights = noise(4 * 64)
        for i in 0..<64 { weights[i] = [.nan, 1, 2, -2][i % 4] }
        for i in 64..<128 { weights[i] = [.infinity, 1, 2, -2][i % 4] }
        for i in 128..<192 { weights[i] = [-.infinity, 0, .nan, .infinity][i % 4] }
        let compute = Compute(threads: 1, instructionSet: instructionSet)
        let tensor = QuantizedTensor(
            quantizing: UnsafeBufferPointer(weights.elements), shape: [4, 64],
            configuration: QuantizationConfiguration(format: format, doubleQuantization: false),
            on: compute)
        let absmax = tensor.decodedAbsmax()
        #expect(absmax[0].isNaN && absmax[1] == .infinity && absmax[2].isNaN)
        let last: UInt8 = format == .nf4 ? 0xf : 0x3
        let zero: UInt8 = format == .nf4 ? 0x7 : 0x0
        #expect(tensor.packed.array[..<32].allSatisfy { $0 == last << 4 | last })
        for i in stride(from: 32, to: 64, by: 2) {
            #expect(tensor.packed[i] == last << 4 | zero)
            #expect(tensor.packed[i + 1] == zero << 4 | zero)
        }
        let clean = QuantizedTensor(
            quantizing: UnsafeBufferPointer(rebasing: weights.elements[192...]), shape: [64],
            configuration: QuantizationConfiguration(format: format, doubleQuantization: false),
            on: compute)
        #expect(clean.packed.array == Array(tensor.packed.array[96...]))
        #expect(clean.decodedAbsmax()[0] == absmax[3])
    }

    @Test func `scales that are not finite are double-quantized without a trap`() {
        for special: Float in [.nan, .infinity, -.infinity, .leastNonzeroMagnitude, 0] {
            let scales: [Float] = [special, 1, 2, -2]
            let nested = scales.withUnsafeBufferPointer {
                NestedAbsmax(quantizing: $0, on: Compute())
            }
            #expect(nested.codes.count == 4)
            #expect(nested.decoded().count == 4)
        }
    }

    @Test(arguments: QuantizationConfiguration.blockSizes)
    func `a weight is off by at most half the widest gap of the codebook`(blockSize: Int) {
        let compute = Compute(threads: 1)
        let weights = noise(3 * 4096 + 5)
        let tensor = QuantizedTensor(
            quantizing: UnsafeBufferPointer(weights.elements), shape: [weights.count],
            configuration: QuantizationConfiguration(
                blockSize: blockSize, doubleQuantization: false), on: compute)
        let restored = tensor.dequantizedFloat32(on: compute)
        let absmax = tensor.decodedAbsmax()
        // NF4's widest gap is its first, 1 - 0.6962; 1e-6 for the roundings of scaling.
        let bound: Float = (1 - 0.696_192_8) / 2 + 1e-6
        for i in 0..<weights.count {
            #expect(abs(restored[i] - weights[i]) <= bound * absmax[i / blockSize])
        }
    }
}
