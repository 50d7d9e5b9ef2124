import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// What must not differ by a bit between instruction sets.
struct KernelFormatTests {
    static let counts = [0, 1, 2, 7, 31, 32, 33, 63, 64, 65, 127, 4095, 4096, 4097, 10_000]

    private let scalar = InstructionSet.supported[0].kernels

    @Test(arguments: InstructionSet.supported, QuantizationConfiguration.blockSizes)
    func `quantization is exact`(instructionSet: InstructionSet, blockSize: Int) {
        for format in QuantizationFormat.allCases {
            for count in Self.counts {
                let x = noise(count, seed: UInt64(count))
                // Values on and beside the boundaries.
                if count > 40 {
                    for m in 0..<15 {
                        x[m] = format.midpoints[m] * 2
                        x[m + 15] = format.midpoints[m].nextUp * 2
                    }
                    x[30] = 2
                }
                func quantize(_ kernels: quant_kernels) -> ([UInt8], [UInt32]) {
                    let packed = Buffer([UInt8](repeating: 0xaa, count: (count + 1) / 2))
                    let absmax = Buffer<Float>((count + blockSize - 1) / blockSize)
                    kernels.quantize(
                        x.pointer, count, blockSize, format.midpoints.pointer,
                        format.order.pointer, packed.pointer, absmax.pointer)
                    return (packed.array, absmax.array.map(\.bitPattern))
                }
                #expect(
                    quantize(instructionSet.kernels) == quantize(scalar), "\(format), \(count)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, KernelProductTests.storages)
    func `dequantization is exact from any element on`(
        instructionSet: InstructionSet, storage: KernelProductTests.Storage
    ) {
        let matrix = storage.matrix(rows: 47, columns: 91)
        for first in [0, 1, 2, 31, 63, 64, 65, 1000] {
            for count in [0, 1, 2, 7, 8, 15, 16, 17, 31, 64, 65, 127, 1000, 47 * 91 - 1000] {
                func dequantize(_ kernels: quant_kernels) -> ([UInt32], [UInt16]) {
                    let floats = Buffer([Float](repeating: 7, count: count + 1))
                    let halves = Buffer([UInt16](repeating: 7, count: count + 1))
                    withUnsafePointer(to: matrix.raw) {
                        kernels.dequantize_f32($0, first, count, floats.pointer)
                        kernels.dequantize_bf16($0, first, count, halves.pointer)
                    }
                    return (floats.array.map(\.bitPattern), halves.array)
                }
                #expect(dequantize(instructionSet.kernels) == dequantize(scalar))
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func `every 16-bit float converts exactly`(instructionSet: InstructionSet) {
        let kernels = instructionSet.kernels
        let all = Buffer((0..<65536).map { UInt16($0) })
        let ours = Buffer<Float>(65536)
        let reference = Buffer<Float>(65536)
        kernels.f32_from_f16(all.pointer, 65536, ours.pointer)
        scalar.f32_from_f16(all.pointer, 65536, reference.pointer)
        #expect(ours.array.map(\.bitPattern) == reference.array.map(\.bitPattern))
        kernels.f32_from_bf16(all.pointer, 65536, ours.pointer)
        #expect(ours.array.map(\.bitPattern) == all.array.map { UInt32($0) << 16 })
    }

    @Test(arguments: InstructionSet.supported, counts)
    func `fp32 rounds to 16 bits exactly`(instructionSet: InstructionSet, count: Int) {
        // All exponents, random fractions, ties, subnormals, infinities and NaN.
        let random = noise(count, seed: 3).array.map(\.bitPattern)
        let x = Buffer(
            random.enumerated().map { index, bits in
                let special: [UInt32] = [
                    0x7f80_0000, 0xff80_0000, 0x7fc0_0001, 0x7f80_0001, 0x3f80_8000, 0x3f81_8000,
                    0x477f_efff, 0x477f_f000, 0x3380_0000, 0x3300_0000, 0x3300_0001, 0x0000_0001,
                    0x387f_ffff, 0x3880_0000, 0x8000_0000, 0x7f7f_ffff,
                ]
                return Float(
                    bitPattern: index % 3 == 0
                        ? special[index / 3 % special.count]
                        : bits & 0x807f_ffff | UInt32(index % 256) << 23)
            })
        func round(_ kernels: quant_kernels) -> [[UInt16]] {
            let halves = Buffer([UInt16](repeating: 7, count: count + 1))
            let brains = Buffer([UInt16](repeating: 7, count: count + 1))
            kernels.f16_from_f32(x.pointer, count, halves.pointer)
            kernels.bf16_from_f32(x.pointer, count, brains.pointer)
            let saturated = Buffer([UInt16](repeating: 7, count: count + 1))
            kernels.saturated_f16_from_f32(x.pointer, count, saturated.pointer)
            for i in 0..<count where x[i].isFinite {
                // The largest half instead of infinity, else the same.
                let largest: UInt16 = halves[i] & 0x8000 | 0x7bff
                #expect(saturated[i] == (halves[i] & 0x7fff == 0x7c00 ? largest : halves[i]))
            }
            return [halves.array, brains.array, saturated.array]
        }
        #expect(round(instructionSet.kernels) == round(scalar))
    }

    @Test(arguments: InstructionSet.supported, [1, 7, 16, 31, 33, 257])
    func `bytes are the nearest integers`(instructionSet: InstructionSet, count: Int) {
        // Ties among them: with a scale of 1/2 every second is one.
        let x = Buffer((0..<count).map { Float($0 % 255 - 127) })
        for scale: Float in [0.5, 1, 0.37] {
            let bytes = Buffer([Int8](repeating: 99, count: count + 1))
            instructionSet.kernels.i8_from_f32(x.pointer, count, scale, bytes.pointer)
            let expected = (0..<count).map { Int8((x[$0] * scale).rounded(.toNearestOrEven)) }
            #expect(bytes.array == expected + [99])
        }
    }
}
