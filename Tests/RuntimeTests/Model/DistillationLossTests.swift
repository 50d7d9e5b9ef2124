import LorikeetQuant
import LorikeetRuntime
import QuantKernels
import TestSupport
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

@Suite struct `The distance to another model's predictions` {
    private let rows = 5
    private let width = 6
    private let vocabulary = 9
    private let positions = [0, 2, 4]

    /// Σ KL(p‖q) over the positions.
    private func exact(_ h: [Double], _ reference: [Double], _ w: [Float], cap: Double?) -> Double {
        positions.reduce(0) { sum, row in
            func logs(_ h: [Double]) -> [Double] {
                let z = Naive.product(
                    Array(h[row * width..<(row + 1) * width]), w.map(Double.init), columns: width
                ).map { z in cap.map { $0 * tanh(z / $0) } ?? z }
                let logSum = log(z.reduce(0) { $0 + exp($1) })
                return z.map { $0 - logSum }
            }
            return zip(logs(reference), logs(h)).reduce(sum) { $0 + exp($1.0) * ($1.0 - $1.1) }
        }
    }

    // Chunks of 1, of some, and of more positions than there are.
    @Test(
        arguments: InstructionSet.supported,
        [(1, nil), (2, nil), (100, nil), (2, 3)] as [(Int, Float?)])
    func `loss and gradient agree with the equation`(
        set: InstructionSet, options: (chunk: Int, cap: Float?)
    ) {
        let compute = Compute(threads: 2, instructionSet: set)
        var random = SeededGenerator(seed: 7)
        let output = Buffer(random.floats(vocabulary * width))
        let h = random.floats(rows * width, scale: 2)
        let halves = Buffer<UInt16>(rows * width)
        let reference = Buffer<Float>(rows * width)
        compute.kernels.saturated_f16_from_f32(
            random.floats(rows * width, scale: 2), rows * width, halves.pointer)
        compute.kernels.f32_from_f16(halves.pointer, rows * width, reference.pointer)
        let loss = DistillationLoss(
            output: .stored(
                WeightMatrix(
                    floats: output.pointer, type: QUANT_F32, rows: vocabulary, columns: width,
                    owner: output)),
            chunk: options.chunk, cap: options.cap, on: compute)
        func value(_ h: [Double]) -> Double {
            exact(
                h, reference.array.map(Double.init), output.array, cap: options.cap.map(Double.init)
            )
        }
        // A few dozen operations in fp32 on numbers near 1.
        let tolerance = 2e-5
        let evaluated = loss.forward(h, reference: halves.pointer, rows: positions, on: compute)
        #expect(abs(evaluated - value(h.map(Double.init))) <= tolerance)

        let dh = Buffer([Float](repeating: .nan, count: h.count))
        let trained = loss.forwardBackward(
            h, reference: halves.pointer, rows: positions, tokens: rows, lossScale: 0.5,
            into: dh.pointer, on: compute)
        #expect(trained == evaluated)
        let gradient = GradientCheck.centralDifferences(at: h.map(Double.init)) { 0.5 * value($0) }
        GradientCheck.expectClose(dh.elements, gradient, within: tolerance)
        for row in [1, 3] {
            #expect(dh.elements[row * width..<(row + 1) * width].allSatisfy { $0 == 0 })
        }
    }
}
