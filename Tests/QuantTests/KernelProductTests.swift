import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// The products of every instruction set against the definition.
struct KernelProductTests {
    /// Rows × columns: nothing, one, odd, around a register, a block and a panel; columns that are
    /// multiples of 64, of 32 only, and of neither; more than a slice and than a part of x.
    static let shapes = [
        (0, 64), (3, 0), (1, 1), (1, 31), (2, 63), (16, 64), (17, 65), (31, 32), (33, 96),
        (65, 128),
        (50, 160), (15, 257), (7, 1000), (40, 576), (3, 4160), (300, 64), (263, 33),
    ]
    static let storages = [
        Storage(type: QUANT_F32), Storage(type: QUANT_F16), Storage(type: QUANT_BF16),
        Storage(type: QUANT_4BIT, blockSize: 64), Storage(type: QUANT_4BIT, blockSize: 128),
        Storage(type: QUANT_4BIT, blockSize: 4096),
        Storage(type: QUANT_4BIT, blockSize: 64, format: .fp4),
    ]

    struct Storage: CustomTestStringConvertible {
        var type: quant_type
        var blockSize = 64
        var format = QuantizationFormat.nf4

        var testDescription: String {
            type == QUANT_4BIT
                ? "\(format) in blocks of \(blockSize)"
                : type == QUANT_F32 ? "f32" : type == QUANT_F16 ? "f16" : "bf16"
        }

        func matrix(rows: Int, columns: Int) -> WeightMatrix {
            let scalar = Compute(threads: 1, instructionSet: .supported[0])
            let weights = noise(rows * columns, seed: UInt64(rows * 7919 + columns))
            switch type {
            case QUANT_4BIT:
                return QuantizedTensor(
                    quantizing: UnsafeBufferPointer(weights.elements), shape: [rows, columns],
                    configuration: QuantizationConfiguration(
                        format: format, blockSize: blockSize), on: scalar
                ).weightMatrix()
            case QUANT_F32:
                return WeightMatrix(
                    floats: weights.pointer, type: type, rows: rows, columns: columns,
                    owner: weights)
            default:
                let halves = Buffer<UInt16>(weights.count)
                let convert =
                    type == QUANT_F16 ? scalar.kernels.f16_from_f32 : scalar.kernels.bf16_from_f32
                convert!(weights.pointer, weights.count, halves.pointer)
                return WeightMatrix(
                    floats: halves.pointer, type: type, rows: rows, columns: columns,
                    owner: halves)
            }
        }
    }

    // Two sums of the same n products in fp32, in whatever order, are each within n · 2⁻²⁴ · Σ|products|
    // of the true one; each product is itself rounded at most once, and so is each slice's sum.
    private func tolerance(_ count: Int, _ magnitude: Float) -> Float {
        2 * Float(count + 2) * 0x1p-24 * magnitude
    }

    @Test(arguments: InstructionSet.supported, storages)
    func `products equal the definition`(instructionSet: InstructionSet, storage: Storage) {
        let compute = Compute(threads: 1, instructionSet: instructionSet)
        let scratch = compute.scratch(0)
        for (rows, columns) in Self.shapes {
            let matrix = storage.matrix(rows: rows, columns: columns)
            let weights = matrix.dequantizedFloat32(
                on: Compute(threads: 1, instructionSet: .supported[0]))
            for M in [0, 1, 2, 7, 8, 13, 400] where M < 20 || rows * columns < 3000 {
                // A leading dimension that is not the width, and an untouched border to check.
                let ldx = columns + 3
                let ldy = rows + 2
                let x = noise(M * ldx + 1, seed: 5)
                let y = Buffer([Float](repeating: 7, count: M * ldy + 1))
                let accumulate = M % 2 == 1
                let begin = rows > 20 ? 16 : 0
                withUnsafePointer(to: matrix.raw) {
                    if M == 1 {
                        compute.kernels.matvec(
                            $0, x.pointer, begin, rows, y.pointer, accumulate ? 1 : 0)
                    } else {
                        compute.kernels.matmul(
                            $0, x.pointer, M, ldx, begin, rows, y.pointer, ldy,
                            accumulate ? 1 : 0, scratch)
                    }
                }
                var failures = 0
                for m in 0..<M {
                    for r in 0..<ldy {
                        guard r >= begin, r < rows else {
                            if y[m * ldy + r] != 7 { failures += 1 }
                            continue
                        }
                        var sum: Float = accumulate ? 7 : 0
                        var magnitude = sum
                        for k in 0..<columns {
                            let product = x[m * ldx + k] * weights[r * columns + k]
                            sum += product
                            magnitude += abs(product)
                        }
                        let difference = abs(sum - y[m * ldy + r])
                        if !(difference <= tolerance(columns, magnitude)) { failures += 1 }
                    }
                }
                #expect(failures == 0, "\(rows) × \(columns), M = \(M)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, storages)
    func `backward products equal the definition`(
        instructionSet: InstructionSet, storage: Storage
    ) {
        let compute = Compute(threads: 1, instructionSet: instructionSet)
        for (rows, columns) in Self.shapes {
            let matrix = storage.matrix(rows: rows, columns: columns)
            let weights = matrix.dequantizedFloat32(
                on: Compute(threads: 1, instructionSet: .supported[0]))
            for (M, accumulate) in [
                (0, false), (1, true), (1, false), (2, true), (7, false), (13, true),
            ] {
                let ldy = rows + 3
                let ldx = columns + 2
                let dy = noise(M * ldy + 1, seed: 6)
                let before = noise(M * ldx + 1, seed: 7)
                let dx = Buffer(before.array)
                let begin = columns > 70 ? 64 : 0
                withUnsafePointer(to: matrix.raw) {
                    compute.kernels.matmul_backward(
                        $0, dy.pointer, M, ldy, begin, columns, dx.pointer, ldx,
                        accumulate ? 1 : 0, compute.scratch(0))
                }
                var failures = 0
                for m in 0..<M {
                    for k in 0..<ldx {
                        guard k >= begin, k < columns else {
                            if dx[m * ldx + k] != before[m * ldx + k] { failures += 1 }
                            continue
                        }
                        var sum = accumulate ? before[m * ldx + k] : 0
                        var magnitude = abs(sum)
                        for r in 0..<rows {
                            let product = dy[m * ldy + r] * weights[r * columns + k]
                            sum += product
                            magnitude += abs(product)
                        }
                        let difference = abs(sum - dx[m * ldx + k])
                        if !(difference <= tolerance(rows, magnitude)) { failures += 1 }
                    }
                }
                #expect(failures == 0, "\(rows) × \(columns), M = \(M)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, Precision.allCases)
    func `neither threads nor the number of rows change a product`(
        instructionSet: InstructionSet, precision: Precision
    ) {
        let matrix = Storage(type: QUANT_4BIT).matrix(rows: 210, columns: 640)
        let x = noise(40 * 640)
        let dy = noise(40 * 210)
        func products(threads: Int, count: Int) -> [[Float]] {
            let compute = Compute(
                threads: threads, precision: precision, isBatchInvariant: true,
                instructionSet: instructionSet)
            let weight = LinearWeight(matrix, on: compute)
            let activations = Activations(on: compute)
            let y = Buffer<Float>(count * 210)
            let vector = Buffer<Float>(210)
            let dx = Buffer<Float>(count * 640)
            for (rows, output) in [(count, y), (1, vector)] {
                LinearWeight.multiply(
                    [weight], x.pointer, count: rows, using: activations, on: compute
                ) { _ in output.pointer }
            }
            if precision != .int8 {
                weight.multiplyBackward(
                    dy.pointer, count: count, into: dx.pointer, accumulate: false,
                    using: activations, on: compute)
            }
            return [y.array, vector.array, dx.array]
        }
        let whole = products(threads: 1, count: 40)
        for threads in [2, 3, 5] {
            #expect(products(threads: threads, count: 40) == whole, "\(threads) threads")
        }
        for count in [2, 3, 7] {
            let part = products(threads: 2, count: count)
            #expect(part[0] == Array(whole[0][..<(count * 210)]), "\(count) rows of 40")
            #expect(part[2] == Array(whole[2][..<(count * 640)]), "\(count) rows of 40")
        }
        #expect(whole[1] == Array(whole[0][..<210]), "one row of 40")
    }
}
