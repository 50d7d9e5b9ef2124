import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// DoRA's norms against W + s B A materialized in float64, and what a start makes of them.
@Suite struct DoRATests {
    private static let path = ModulePath(layer: 0, module: .gate)

    /// A quantized layer [out, in] and a term over it.
    private struct Layer {
        let weight: WeightMatrix
        let delta: LowRankDelta
        let compute: Compute

        init(weight: WeightMatrix, delta: LowRankDelta, compute: Compute) {
            (self.weight, self.delta, self.compute) = (weight, delta, compute)
        }

        init(outputs: Int, inputs: Int, rank: Int, size: Float, precision: Precision) {
            compute = Compute(threads: 2, precision: precision)
            let floats = WeightMatrix(
                floats: noise(outputs * inputs, seed: 1), rows: outputs, columns: inputs)
            weight = QuantizedTensor(quantizing: floats, on: compute).weightMatrix()
            let (a, b) = (noise(rank * inputs, seed: 2), noise(outputs * rank, seed: 3))
            for i in 0..<b.count { b[i] *= size }
            delta = LowRankDelta(a: a, b: b, rank: rank, scale: 0.5)
        }

        var norms: RowNorms {
            let weight = LinearWeight(weight, on: compute)
            return RowNorms(on: compute) { $0 == DoRATests.path ? weight : nil }
        }

        /// The rows' norms by the shortcut.
        func cheap() -> [Double] {
            let result = Buffer<Float>(weight.rows)
            norms.compute(delta, at: DoRATests.path, into: result)
            return result.array.map(Double.init)
        }

        /// The same of W + s B A in float64, and of W alone.
        func exact() -> (norms: [Double], base: [Double]) {
            let (O, I) = (weight.rows, weight.columns)
            let w = Matrix(
                O, I, weight.dequantizedFloat32(on: compute).array.map(Double.init))
            let a = Matrix(delta.rank, I, delta.a.array.map(Double.init))
            let b = Matrix(O, delta.rank, delta.b.array.map(Double.init))
            let sum = w - (-Double(delta.scale)) * (b * a)
            func norms(_ m: Matrix) -> [Double] {
                (0..<O).map { row in
                    (0..<I).reduce(0) { $0 + m[row, $1] * m[row, $1] }.squareRoot()
                }
            }
            return (norms(sum), norms(w))
        }
    }

    // From a term of a thousandth of W to one of ten times it. fp32 rounds the norm itself, 6e-8, and the
    // product's rounding counts as far as the term does. Tiles hold a block's scale as a half, within 2⁻¹¹,
    // and codes within 1e-4.
    @Test(arguments: [(Precision.fp32, 3e-7), (.int16, 6e-4)], [Float(0), 1e-3, 0.1, 10])
    func `the shortcut gives the norms of the materialized rows`(
        precision: (Precision, Double), size: Float
    ) {
        let layer = Layer(
            outputs: 70, inputs: 192, rank: 8, size: size, precision: precision.0)
        let worst = zip(layer.cheap(), layer.exact().norms).map { abs($0 / $1 - 1) }.max() ?? .nan
        print("\(precision.0), B of size \(size): norms within \(worst)")
        #expect(worst < precision.1)
    }

    // As above, over nine blocks a row and more.
    @Test(
        .enabled(if: Fixtures.quantizedModel != nil, "run make models"),
        arguments: [(Precision.fp32, 3e-7), (.int16, 6e-4)])
    func `the shortcut gives the norms of the default model's rows`(
        precision: (Precision, Double)
    ) throws {
        let checkpoint = try Checkpoints.open(#require(Fixtures.quantizedModel))
        let compute = Compute(precision: precision.0)
        let model = try DecoderModel(checkpoint: checkpoint, on: compute)
        let norms = RowNorms(model, on: compute)
        var worst = 0.0
        for module in LinearModule.llama {
            let path = ModulePath(layer: 17, module: module)
            let (outputs, inputs) = module.shape(in: model.configuration)
            let layer = Layer(
                weight: try checkpoint.weights("\(path).weight", rows: outputs, columns: inputs),
                delta: LowRankDelta(
                    a: noise(8 * inputs, seed: 2), b: noise(outputs * 8, seed: 3), rank: 8,
                    scale: 0.01), compute: compute)
            let result = Buffer<Float>(outputs)
            norms.compute(layer.delta, at: path, into: result)
            for (cheap, exact) in zip(result.array, layer.exact().norms) {
                worst = max(worst, abs(Double(cheap) / exact - 1))
            }
        }
        print("\(precision.0), the default model: norms within \(worst)")
        #expect(worst < precision.1)
    }

    // W = -s B A but for rounding: the three terms cancel, and what is left of their 1e-7 or 3e-4 is a square.
    @Test(arguments: [(Precision.fp32, 1e-3), (.int16, 3e-2)])
    func `a row that the term takes away has a small norm, never NaN`(
        precision: (Precision, Double)
    ) throws {
        let (outputs, inputs, rank) = (20, 64, 4)
        let compute = Compute(threads: 2, precision: precision.0)
        let (a, b) = (noise(rank * inputs, seed: 4), noise(outputs * rank, seed: 5))
        let product =
            Matrix(outputs, rank, b.array.map(Double.init))
            * Matrix(rank, inputs, a.array.map(Double.init))
        let floats = Buffer(product.elements.map { Float(-0.5 * $0) })
        let weight = LinearWeight(
            WeightMatrix(floats: floats, rows: outputs, columns: inputs), roundsFloats: true,
            on: compute)
        let norms = Buffer<Float>(outputs)
        RowNorms(on: compute) { _ in weight }.compute(
            LowRankDelta(a: a, b: b, rank: rank, scale: 0.5), at: Self.path, into: norms)
        let base = weight.squaredRowNorms(on: compute)
        for i in 0..<outputs {
            #expect(norms[i] >= 0 && Double(norms[i]) < precision.1 * base[i].squareRoot())
        }
        withExtendedLifetime((a, b)) {}
    }

    private func start(_ layer: Layer) -> TrainableAdapter {
        TrainableAdapter(
            shapes: [
                .init(
                    path: Self.path, inputSize: layer.weight.columns,
                    outputSize: layer.weight.rows)
            ], rank: layer.delta.rank, scale: 0.5, seed: 1, norms: layer.norms)
    }

    @Test func `a start has the base's norms as magnitudes, and scales by exactly 1`() throws {
        let layer = Layer(outputs: 35, inputs: 64, rank: 4, size: 1, precision: .int16)
        let adapter = start(layer)
        let module = adapter.modules[0]
        #expect(module.parameters.map(\.name) == ["lora_A", "lora_B", "lora_magnitude_vector"])
        #expect(module.parameters.map(\.learnsAsB) == [false, true, false])
        #expect(adapter.parameterCount == 4 * 64 + 35 * 4 + 35)
        #expect(try #require(module.delta.outputScale).array.allSatisfy { $0 == 1 })
        let magnitude = try #require(module.magnitude)
        for (m, norm) in zip(magnitude.values.array, layer.exact().base) {
            #expect(abs(Double(m) / norm - 1) < 6e-4)
        }
    }

    @Test func `the outputs' scale follows factors and magnitudes; a zero row stays zero`() throws {
        let layer = Layer(outputs: 35, inputs: 64, rank: 4, size: 1, precision: .fp32)
        let adapter = start(layer)
        let module = adapter.modules[0]
        let magnitude = try #require(module.magnitude)
        _ = module.delta.a.elements.update(from: layer.delta.a.elements)
        _ = module.delta.b.elements.update(from: layer.delta.b.elements)
        magnitude.values[0] = 0
        magnitude.values[1] = -2
        DoRA().prepare(adapter)
        let (scale, norms) = (try #require(module.delta.outputScale), layer.exact().norms)
        for i in 0..<35 {
            #expect(abs(Double(scale[i]) - Double(magnitude.values[i]) / norms[i]) < 1e-6)
        }
        // dm = d(m / norm) / norm
        magnitude.gradient.elements.update(repeating: 3)
        DoRA().finishGradients(of: adapter)
        for i in 0..<35 {
            #expect(abs(Double(magnitude.gradient[i]) * norms[i] / 3 - 1) < 1e-6)
        }

        let zero = WeightMatrix(floats: Buffer<Float>(4 * 6), rows: 4, columns: 6)
        let none = TrainableAdapter(
            shapes: [.init(path: Self.path, inputSize: 6, outputSize: 4)], rank: 2, scale: 1,
            seed: 1, norms: RowNorms(on: layer.compute) { _ in .stored(zero) })
        DoRA().finishGradients(of: none)
        #expect(none.modules[0].delta.outputScale?.array == [0, 0, 0, 0])
        #expect(none.modules[0].magnitude?.gradient.array == [0, 0, 0, 0])
    }

    @Test func `a copy begins where the other adapter left its rows`() throws {
        let layer = Layer(outputs: 35, inputs: 64, rank: 4, size: 1, precision: .fp32)
        let source = start(layer)
        _ = source.modules[0].delta.b.elements.update(from: layer.delta.b.elements)
        let magnitude = try #require(source.modules[0].magnitude)
        for i in 0..<35 { magnitude.values[i] *= 1 + Float(i) / 35 }
        DoRA().prepare(source)
        let shapes = [TrainableAdapter.Shape(path: Self.path, inputSize: 64, outputSize: 35)]
        let copy = try TrainableAdapter(
            shapes: shapes, rank: 4, scale: 0.5, copying: source, name: "source",
            norms: layer.norms)
        for (m, n) in zip(magnitude.values.array, copy.modules[0].magnitude?.values.array ?? []) {
            // Divided by the norm and multiplied with it again, in fp32.
            #expect(abs(n / m - 1) < 3e-7)
        }
        // Plain LoRA's factors, as a start for DoRA: the lengths they leave, so that nothing changes.
        let plain = TrainableAdapter(shapes: shapes, rank: 4, scale: 0.5, seed: 1)
        _ = plain.modules[0].delta.b.elements.update(from: layer.delta.b.elements)
        let grown = try TrainableAdapter(
            shapes: shapes, rank: 4, scale: 0.5, copying: plain, name: "plain", norms: layer.norms)
        #expect(grown.modules[0].delta.outputScale?.array.allSatisfy { $0 == 1 } == true)
        // And not the other way round.
        let error = try failure {
            _ = try TrainableAdapter(
                shapes: shapes, rank: 4, scale: 0.5, copying: source, name: "source")
        }
        #expect(error.code == .mismatch && error.advice?.contains("dora") == true)
    }
}
