import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// GPTQ against its definition, one weight at a time in float64.
@Suite struct GPTQTests {
    private let compute = Compute(threads: 2)

    /// A layer, and the second moments of correlated inputs.
    private struct Layer {
        let weights: Matrix
        let gram: Matrix

        init(rows: Int, columns: Int, seed: UInt64) {
            var generator = SeededGenerator(seed: seed)
            weights = Matrix.random(rows, columns, &generator)
            // Inputs of a few directions and some noise, of very different sizes.
            let directions = Matrix.random(max(1, columns / 3), columns, &generator)
            let inputs = Matrix.random(2 * columns, directions.rows, &generator) * directions
            var x = inputs + 0.3 * Matrix.random(2 * columns, columns, &generator)
            for r in 0..<x.rows { for c in 0..<columns where c % 5 == 2 { x[r, c] *= 4 } }
            gram = (1 / Double(x.rows)) * (x.transposed * x)
        }

        /// H as the solver gets it, to the last bit symmetric.
        var buffer: Buffer<Float> { Buffer(gram.elements.map { Float($0) }) }
    }

    /// Algorithm 1 with one column at a time: what is left of H⁻¹ after each column by elimination.
    ///
    /// - scales: of each block of 64 weights, as stored.
    private func reference(_ aim: Matrix, gram: Matrix, scales: [Double]) -> Matrix {
        let (n, values) = (gram.columns, QuantizationFormat.nf4.ascending.array.map(Double.init))
        let mean = (0..<n).reduce(0.0) { $0 + gram[$1, $1] } / Double(n)
        var damped = gram
        for i in 0..<n { damped[i, i] += 0.01 * mean }
        var inverse = damped.inverse
        var (w, q) = (aim, aim)
        for column in (0..<n).sorted(by: { (gram[$1, $1], $0) < (gram[$0, $0], $1) }) {
            let pivot = inverse[column, column]
            for r in 0..<w.rows {
                let scale = scales[(r * n + column) / 64]
                let x = w[r, column]
                q[r, column] =
                    scale * (values.min { abs($0 - x / scale) < abs($1 - x / scale) } ?? 0)
                let error = (x - q[r, column]) / pivot
                for c in 0..<n { w[r, c] -= error * inverse[column, c] }
            }
            let row = (0..<n).map { inverse[column, $0] }
            for i in 0..<n { for j in 0..<n { inverse[i, j] -= row[i] * row[j] / pivot } }
        }
        return q
    }

    private func floats(_ tensor: QuantizedTensor) -> Matrix {
        Matrix(
            tensor.shape[0], tensor.shape[1],
            tensor.dequantizedFloat32(on: compute).array.map(Double.init))
    }

    /// tr(D H Dᵀ).
    private func energy(_ d: Matrix, _ gram: Matrix) -> Double {
        let product = d * gram
        return zip(product.elements, d.elements).reduce(0) { $0 + $1.0 * $1.1 }
    }

    // Fewer columns than are rounded together, more, blocks that straddle rows, more rows than a thread takes.
    @Test(arguments: [(3, 64), (70, 96), (5, 130), (130, 40), (1, 1), (2, 33)])
    func `codes are the definition's`(shape: (rows: Int, columns: Int)) throws {
        let layer = Layer(rows: shape.rows, columns: shape.columns, seed: 3)
        let solver = try #require(GPTQ(gram: layer.buffer, columns: shape.columns))
        let solution = solver.quantize(
            Buffer(layer.weights.elements.map { Float($0) }), shift: .none,
            configuration: QuantizationConfiguration(), on: compute)
        let scales = solution.tensor.decodedAbsmax().array.map(Double.init)
        let expected = reference(layer.weights, gram: layer.gram, scales: scales)
        let found = floats(solution.tensor)
        let same = zip(found.elements, expected.elements).count { abs($0 - $1) < 1e-5 }
        // A weight within fp32's rounding of a boundary may go the other way, and then moves the rest of its row.
        #expect(Double(same) >= 0.99 * Double(expected.elements.count))
        var damped = layer.gram
        let mean = (0..<shape.columns).reduce(0.0) { $0 + damped[$1, $1] } / Double(shape.columns)
        for i in 0..<shape.columns { damped[i, i] += 0.01 * mean }
        let lost = energy(layer.weights - found, damped)
        // fp32 sums of the errors, which a single weight has none of.
        let reported = solution.outputError * energy(layer.weights, layer.gram)
        #expect(abs(reported - lost) <= 1e-3 * lost + 1e-12)
    }

    @Test func `correlated inputs lose less than by rounding to the same scales`() throws {
        let layer = Layer(rows: 64, columns: 128, seed: 4)
        let weights = Buffer(layer.weights.elements.map { Float($0) })
        let solver = try #require(GPTQ(gram: layer.buffer, columns: 128))
        let solution = solver.quantize(
            weights, shift: .none, configuration: QuantizationConfiguration(), on: compute)
        let rounded = QuantizedTensor(
            rounding: UnsafeBufferPointer(weights.elements), shape: [64, 128],
            absmax: solution.tensor.absmax, configuration: QuantizationConfiguration(), on: compute)
        let (ours, plain) = (
            energy(layer.weights - floats(solution.tensor), layer.gram),
            energy(layer.weights - floats(rounded), layer.gram)
        )
        // Two thirds of the inputs' directions are noise of a tenth of the others' size.
        #expect(ours < 0.7 * plain)
    }

    @Test func `weights move half way to other outputs, and all the way to those of other inputs`()
        throws
    {
        let layer = Layer(rows: 20, columns: 70, seed: 5)
        var generator = SeededGenerator(seed: 6)
        let weights = Buffer(layer.weights.elements.map { Float($0) })
        let solver = try #require(GPTQ(gram: layer.buffer, columns: 70))
        // t = V x, V = W + 2 C: E[t xᵀ] = V H.
        let change = 0.3 * Matrix.random(20, 70, &generator)
        let cross = (layer.weights + 2 * change) * layer.gram
        let outputs = solver.quantize(
            weights, shift: .outputs(Buffer(cross.elements.map { Float($0) })),
            configuration: QuantizationConfiguration(), on: compute)
        let plain = solver.quantize(
            weights, shift: .none, configuration: QuantizationConfiguration(), on: compute)
        let middle = layer.weights + change
        // The change is a third of W, 4-bit weights differ from theirs by a tenth; a hundredth of damping.
        #expect(
            energy(middle - floats(outputs.tensor), layer.gram)
                < 0.3 * energy(middle - floats(plain.tensor), layer.gram))

        // x' = M x: W x' = (W M) x, D = E[(x' − x) xᵀ] = (M − 1) H.
        let m = Matrix.identity(70) + 0.04 * Matrix.random(70, 70, &generator)
        let difference = (m - Matrix.identity(70)) * layer.gram
        let inputs = solver.quantize(
            weights, shift: .inputs(Buffer(difference.elements.map { Float($0) })),
            configuration: QuantizationConfiguration(), on: compute)
        let target = layer.weights * m
        #expect(
            energy(target - floats(inputs.tensor), layer.gram)
                < 0.3 * energy(target - floats(plain.tensor), layer.gram))
    }

    @Test func `inputs that are never there, and that are not finite`() throws {
        let zeros = try #require(GPTQ(gram: Buffer<Float>(64 * 64), columns: 64))
        let weights = noise(2 * 64)
        let solution = zeros.quantize(
            weights, shift: .none, configuration: QuantizationConfiguration(), on: compute)
        let plain = QuantizedTensor(
            quantizing: UnsafeBufferPointer(weights.elements), shape: [2, 64],
            configuration: QuantizationConfiguration(), on: compute)
        #expect(solution.tensor.packed.array == plain.packed.array)
        for bad in [Float.nan, .infinity] {
            let gram = Buffer<Float>(64 * 64)
            gram[65] = bad
            #expect(GPTQ(gram: gram, columns: 64) == nil)
        }
    }

    @Test func `the result does not depend on threads`() throws {
        let layer = Layer(rows: 200, columns: 96, seed: 7)
        let weights = Buffer(layer.weights.elements.map { Float($0) })
        let tensors = try [1, 2, 3].map { threads in
            try #require(GPTQ(gram: layer.buffer, columns: 96)).quantize(
                weights, shift: .none, configuration: QuantizationConfiguration(),
                on: Compute(threads: threads)
            ).tensor.packed.array
        }
        #expect(tensors[0] == tensors[1] && tensors[1] == tensors[2])
    }
}
