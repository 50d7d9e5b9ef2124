import LorikeetQuant
import QuantKernels
import TestSupport
import Testing

/// Scales of least weighted error, and the codes chosen for them, against plain float64.
struct ScaleSearchTests {
    /// Blocks that straddle rows, rows shorter than a block, a last block that is not full, many rows.
    static let shapes = [
        (rows: 3, columns: 64), (5, 100), (7, 33), (1, 1), (2, 31), (16, 576), (130, 65),
    ]

    private struct Problem {
        let weights: Buffer<Float>
        let importance: Buffer<Float>
        let configuration: QuantizationConfiguration

        init(_ shape: (rows: Int, columns: Int), _ configuration: QuantizationConfiguration) {
            weights = noise(shape.rows * shape.columns, seed: 5)
            importance = noise(shape.columns, seed: 6)
            // Of mean squares of inputs: not negative, and some far larger than the rest.
            for c in 0..<shape.columns {
                importance[c] *= importance[c] * (c % 7 == 3 ? 100 : 1)
            }
            self.configuration = configuration
        }

        var span: UnsafeBufferPointer<Float> { UnsafeBufferPointer(weights.elements) }
        var importances: UnsafeBufferPointer<Float> { UnsafeBufferPointer(importance.elements) }
        var blocks: [Range<Int>] {
            stride(from: 0, to: weights.count, by: configuration.blockSize).map {
                $0..<min($0 + configuration.blockSize, weights.count)
            }
        }

        /// The value nearest to x, in units of the scale.
        func nearest(_ x: Double) -> Double {
            configuration.format.codebook.array.map(Double.init)
                .min { abs($0 - x) < abs($1 - x) } ?? 0
        }

        /// Σ h (w − s q(w / s))² of a block, and the scale that fits its codes.
        func error(_ block: Range<Int>, scale: Double) -> (error: Double, fitted: Double) {
            var (error, wq, qq) = (0.0, 0.0, 0.0)
            for i in block {
                let (w, h) = (Double(weights[i]), Double(importance[i % importance.count]))
                let q = scale == 0 ? 0 : nearest(w / scale)
                error += h * (w - scale * q) * (w - scale * q)
                wq += h * w * q
                qq += h * q * q
            }
            return (error, qq > 0 ? wq / qq : 0)
        }

        func absmax(_ block: Range<Int>) -> Double {
            block.reduce(0) { max($0, abs(Double(weights[$1]))) }
        }
    }

    @Test(arguments: InstructionSet.supported, shapes)
    func `no block's weighted error is larger than absmax's, and it is the best of those tried`(
        set: InstructionSet, shape: (rows: Int, columns: Int)
    ) {
        let compute = Compute(threads: 2, instructionSet: set)
        let problem = Problem(shape, QuantizationConfiguration(doubleQuantization: false))
        let scales = ScaleSearch(problem.configuration).scales(
            of: problem.span, importance: problem.importances, on: compute)
        #expect(scales.count == problem.blocks.count)
        for (index, block) in problem.blocks.enumerated() {
            let absmax = problem.absmax(block)
            let found = problem.error(block, scale: Double(scales[index])).error
            // Sums of 64 products in fp32 tell errors apart that differ by more than 64 · 2⁻²⁴ of Σ h w²; a weight
            // on the boundary of two values may go either way, which changes nothing.
            let slack = 64 * 0x1p-24 * problem.error(block, scale: 0).error
            #expect(found <= problem.error(block, scale: absmax).error + slack)
            for multiplier in ScaleSearch.multipliers {
                #expect(
                    found <= problem.error(block, scale: Double(multiplier) * absmax).error + slack)
            }
        }
    }

    @Test func `refitting goes on from the best multiple`() {
        // One large weight on a value, the others between: the fitted scale is none of the multiples.
        let problem = Problem((4, 64), QuantizationConfiguration(doubleQuantization: false))
        let scales = ScaleSearch(problem.configuration).scales(
            of: problem.span, importance: problem.importances, on: Compute(threads: 1))
        for (index, block) in problem.blocks.enumerated() {
            let absmax = problem.absmax(block)
            let best = ScaleSearch.multipliers
                .map { problem.error(block, scale: Double($0) * absmax) }
                .min { $0.error < $1.error }
            let scale = Double(scales[index])
            #expect(problem.error(block, scale: scale).error < best?.error ?? 0)
            // Where it stands the codes ask for no other: three refits are enough for most blocks.
            #expect(abs(problem.error(block, scale: scale).fitted - scale) < 0.02 * scale)
        }
    }

    @Test func `zeros have the scale 0, what is not finite stays so`() {
        let weights = Buffer<Float>([Float](repeating: 0, count: 256))
        weights[70] = .nan
        weights[130] = .infinity
        weights[200] = 2
        let importance = Buffer<Float>([Float](repeating: 1, count: 64))
        let scales = ScaleSearch(QuantizationConfiguration()).scales(
            of: UnsafeBufferPointer(weights.elements),
            importance: UnsafeBufferPointer(importance.elements), on: Compute(threads: 1))
        #expect(scales[0] == 0)
        #expect(!scales[1].isFinite && !scales[2].isFinite)
        #expect(scales[3] == 2)
    }

    @Test func `channels that are never read leave absmax`() {
        let weights = noise(128)
        let importance = Buffer<Float>(64)
        let scales = ScaleSearch(QuantizationConfiguration()).scales(
            of: UnsafeBufferPointer(weights.elements),
            importance: UnsafeBufferPointer(importance.elements), on: Compute(threads: 1))
        for block in 0..<2 {
            #expect(
                scales[block] == weights.elements[block * 64..<(block + 1) * 64].map(abs).max())
        }
    }

    @Test(
        arguments: shapes,
        [
            QuantizationConfiguration(), QuantizationConfiguration(format: .fp4),
            QuantizationConfiguration(blockSize: 128, doubleQuantization: false),
        ])
    func `codes are nearest for the scales as they are stored`(
        shape: (rows: Int, columns: Int), configuration: QuantizationConfiguration
    ) {
        let problem = Problem(shape, configuration)
        let compute = Compute(threads: 2)
        let tensor = QuantizedTensor(
            quantizing: problem.weights, shape: [shape.rows, shape.columns],
            importance: problem.importance, configuration: configuration, on: compute)
        let stored = tensor.dequantizedFloat32(on: compute)
        let scales = tensor.decodedAbsmax()
        for (index, block) in problem.blocks.enumerated() {
            let scale = Double(scales[index])
            for i in block {
                let w = Double(problem.weights[i])
                let best = scale * problem.nearest(scale == 0 ? 0 : w / scale)
                // At a boundary both neighbours are as near, within the rounding of w / s.
                #expect(abs(w - Double(stored[i])) <= abs(w - best) + 1e-6 * scale)
            }
        }
    }

    @Test(arguments: InstructionSet.supported, KernelVectorTests.counts)
    func `sums over nearest values`(set: InstructionSet, count: Int) {
        let (x, h) = (noise(count, seed: 1), noise(count, seed: 2))
        for i in 0..<count { h[i] = abs(h[i]) }
        let products = Buffer<Float>(2)
        let reciprocal: Float = 1 / 0.7
        for format in QuantizationFormat.allCases {
            set.kernels.nearest_products(
                x.pointer, h.pointer, count, reciprocal, format.midpoints.pointer,
                format.ascending.pointer, products.pointer)
            var (xq, qq, magnitude) = (0.0, 0.0, 0.0)
            for i in 0..<count {
                let place = format.midpoints.array.count { x[i] * reciprocal > $0 }
                let q = Double(format.ascending[place])
                xq += Double(h[i]) * Double(x[i]) * q
                qq += Double(h[i]) * q * q
                magnitude += abs(Double(h[i]) * q)
            }
            // Two products and an addition a term, each rounded.
            let tolerance = Double(3 * count) * 0x1p-24 * magnitude * 2.5
            #expect(abs(Double(products[0]) - xq) <= tolerance)
            #expect(abs(Double(products[1]) - qq) <= tolerance)
        }
    }
}
