import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct StartTests {
    private static let path = ModulePath(layer: 0, module: .query)
    private let shape = TrainableAdapter.Shape(path: path, inputSize: 48, outputSize: 40)

    private func adapter(rank: Int = 4, scale: Float = 2) -> TrainableAdapter {
        TrainableAdapter(shapes: [shape], rank: rank, scale: scale)
    }

    /// s B A of what the model sees.
    private func product(_ adapter: TrainableAdapter) throws -> Matrix {
        let delta = try #require(adapter.delta(at: Self.path))
        let a = Matrix(delta.rank, delta.a.count / delta.rank, delta.a.array.map(Double.init))
        let b = Matrix(delta.b.count / delta.rank, delta.rank, delta.b.array.map(Double.init))
        return Double(delta.scale) * (b * a)
    }

    @Test func `a gaussian start has PEFT's spread and follows from the seed`() throws {
        let (adapter, same, other) = (adapter(rank: 8), adapter(rank: 8), adapter(rank: 8))
        adapter.startNormally(seed: 1)
        same.startNormally(seed: 1)
        other.startNormally(seed: 2)
        let a = adapter.modules[0].delta.a.array.map(Double.init)
        #expect(a == same.modules[0].delta.a.array.map(Double.init))
        #expect(a != other.modules[0].delta.a.array.map(Double.init))
        // 384 numbers: their deviation is within 4 of its own standard errors, 1/8 · 1/√768.
        let deviation = (a.reduce(0) { $0 + $1 * $1 } / Double(a.count)).squareRoot()
        #expect(abs(deviation - 0.125) < 4 * 0.125 / 768.0.squareRoot())
        #expect(adapter.modules[0].delta.b.array.allSatisfy { $0 == 0 })
    }

    @Test func `an orthogonal start has two factors and no product`() throws {
        let adapter = adapter(rank: 6)
        try adapter.startOrthogonally(seed: 1)
        let delta = adapter.modules[0].delta
        let a = Matrix(6, 48, delta.a.array.map(Double.init))
        let b = Matrix(40, 6, delta.b.array.map(Double.init))
        #expect(a.norm > 0.5 && b.norm > 0.5)
        // The factors are rounded to fp32: 6e-8 of their norms' product.
        #expect((b * a).norm < 1e-6 * a.norm * b.norm)
        #expect(throws: LorikeetError.self) { try self.adapter(rank: 5).startOrthogonally(seed: 1) }
    }

    @Test func `what the model sees is the factors' difference from their start`() throws {
        let adapter = adapter()
        adapter.startNormally(seed: 1)
        var generator = SeededGenerator(seed: 9)
        let delta = adapter.modules[0].delta
        for i in 0..<delta.b.count { delta.b[i] = Float(generator.normal()) }
        let start = try product(adapter)
        adapter.subtractStart()
        #expect(adapter.modelRank == 8)
        // Sums of numbers and their negatives, in fp32 factors but float64 products.
        #expect(try product(adapter).norm < 1e-12 * start.norm)

        for i in 0..<delta.a.count { delta.a[i] += Float(generator.normal()) }
        for i in 0..<delta.b.count { delta.b[i] += Float(generator.normal()) }
        adapter.publish()
        let a = Matrix(4, 48, delta.a.array.map(Double.init))
        let b = Matrix(40, 4, delta.b.array.map(Double.init))
        let difference = 2.0 * (b * a) - start
        #expect(try product(adapter).relativeError(to: difference) < 1e-12)
    }

    @Test func `gradients of the first half reach the factors`() throws {
        let adapter = adapter()
        adapter.startNormally(seed: 1)
        adapter.subtractStart()
        adapter.zeroGradients()
        let seen = try #require(adapter.gradient(at: Self.path))
        for i in 0..<seen.a.count { seen.a[i] = Float(i) }
        for i in 0..<seen.b.count { seen.b[i] = Float(i) }
        adapter.collectGradients()
        let gradient = adapter.modules[0].gradient
        #expect(gradient.a.array == (0..<4 * 48).map(Float.init))
        #expect(gradient.b.array == (0..<40).flatMap { row in (0..<4).map { Float(8 * row + $0) } })
        adapter.zeroGradients()
        #expect(seen.a.array.allSatisfy { $0 == 0 } && seen.b.array.allSatisfy { $0 == 0 })
    }

    // MARK: Starts from a model

    private let compute = Compute(threads: 2, precision: .fp32)

    private func tinyModel() throws -> DecoderModel {
        let path = "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
        return try DecoderModel(
            checkpoint: Checkpoints.open(#require(Fixtures.existing(path))), on: compute)
    }

    @Test func `PiSSA begins with the weight's best part, and as the base`() throws {
        let model = try tinyModel()
        let shapes = TrainableAdapter.Shape.shapes(
            of: LinearModule.llama, in: model.configuration)
        let adapter = TrainableAdapter(shapes: shapes, rank: 4, scale: 2)
        try adapter.startFromPrincipalComponents(of: model, seed: 0, compute: compute)
        for module in adapter.modules {
            let weight = try #require(model.weight(at: module.path))
            let w = dense(weight)
            let (a, b) = (
                Matrix(4, w.columns, module.delta.a.array.map(Double.init)),
                Matrix(w.rows, 4, module.delta.b.array.map(Double.init))
            )
            let residual = w - 2.0 * (b * a)
            let exact = (w * w.transposed)
                .largestEigenvectors(4).values.reduce(0, +)
            // Eckart and Young: no product of rank 4 leaves less. fp32 products: 1e-5 of ‖W‖².
            let least = w.norm * w.norm - exact
            #expect(residual.norm * residual.norm < least + 1e-5 * w.norm * w.norm)
        }
        #expect(adapter.modelRank == 8)
    }

    @Test func `EVA begins with the directions of what layers read`() throws {
        let model = try tinyModel()
        let shapes = TrainableAdapter.Shape.shapes(
            of: [.query, .value, .down], in: model.configuration)
        let adapter = TrainableAdapter(shapes: shapes, rank: 3, scale: 2)
        let rows = (0..<4).map { row in
            let ids = (0..<9).map { Int32((7 * $0 * $0 + 5 * row + $0) % 50) }
            return TrainingRow(inputIDs: ids, labels: ids)
        }
        let tokens = try adapter.startFromInputs(
            of: rows, seed: 0, model: model, compute: compute)
        #expect(tokens == 36)
        var inputs: [ModulePath: Matrix] = [:]
        let pass = TrainingPass(
            model: model, compute: compute, maximumTokens: 64, recomputesBlocks: true)
        try pass.observeInputs(rows) { paths, x, count, width in
            let values = Matrix(count, width, (0..<count * width).map { Double(x[$0]) })
            for path in paths { inputs[path] = values }
        }
        for module in adapter.modules {
            let x = try #require(inputs[module.path])
            let width = x.columns
            let exact = (x.transposed * x).largestEigenvectors(3)
            let a = module.delta.a.array.map(Double.init)
            for i in 0..<3 {
                let dot = (0..<width).reduce(0) {
                    $0 + a[i * width + $1] * exact.vectors[i, $1]
                }
                // All rows are one update: only fp32 inputs and A's rounding differ.
                #expect(abs(abs(dot) - 1) < 1e-4, "\(module.path), direction \(i)")
            }
            #expect(module.delta.b.array.allSatisfy { $0 == 0 })
        }
        // Queries and values read the same.
        #expect(adapter.modules[0].delta.a.array == adapter.modules[1].delta.a.array)
    }

    @Test func `EVA with too few tokens says so`() throws {
        let model = try tinyModel()
        let shapes = TrainableAdapter.Shape.shapes(of: [.query], in: model.configuration)
        let adapter = TrainableAdapter(shapes: shapes, rank: 4, scale: 2)
        let row = TrainingRow(inputIDs: [1, 2], labels: [1, 2])
        #expect(throws: LorikeetError.self) {
            try adapter.startFromInputs(
                of: [row], seed: 0, model: model, compute: compute)
        }
    }

    private func dense(_ weight: LinearWeight) -> Matrix {
        let identity = (0..<weight.columns * weight.columns).map {
            Float($0 / weight.columns == $0 % weight.columns ? 1 : 0)
        }
        let result = Buffer<Float>(weight.columns * weight.rows)
        LinearWeight.multiply(
            [weight], identity, count: weight.columns, using: Activations(on: compute), on: compute
        ) { _ in result.pointer }
        return Matrix(weight.columns, weight.rows, result.array.map(Double.init)).transposed
    }
}
