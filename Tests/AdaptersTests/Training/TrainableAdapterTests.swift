import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

@Suite struct TrainableAdapterTests {
    private let shapes = [
        TrainableAdapter.Shape(
            path: .init(layer: 1, module: .query), inputSize: 100, outputSize: 30),
        TrainableAdapter.Shape(
            path: .init(layer: 0, module: .down), inputSize: 400, outputSize: 100),
        TrainableAdapter.Shape(path: .init(layer: 0, module: .key), inputSize: 100, outputSize: 20),
    ]

    @Test func `layers are ordered by block, then module`() {
        let adapter = TrainableAdapter(shapes: shapes, rank: 4, scale: 2, seed: 1)
        #expect(
            adapter.modules.map(\.path.description) == [
                "model.layers.0.self_attn.k_proj", "model.layers.0.mlp.down_proj",
                "model.layers.1.self_attn.q_proj",
            ])
        #expect(adapter.parameterCount == 4 * (100 + 30 + 400 + 100 + 100 + 20))
        #expect(adapter.delta(at: .init(layer: 5, module: .key)) == nil)
        #expect(adapter.gradient(at: .init(layer: 1, module: .query))?.b.count == 120)
    }

    @Test func `A starts uniform within 1/√in and B at zero, as in PEFT`() {
        let adapter = TrainableAdapter(shapes: shapes, rank: 8, scale: 2, seed: 1)
        for module in adapter.modules {
            let bound = 1 / Float(module.inputSize).squareRoot()
            let a = module.delta.a.array
            #expect(a.allSatisfy { abs($0) <= bound })
            // Of 800 uniform numbers some fall into the outer twentieth, and their variance is bound²/3
            // within a tenth: four standard deviations (of 0.9/√800 = 3 % each).
            #expect(a.contains { $0 > 0.95 * bound } && a.contains { $0 < -0.95 * bound })
            let variance = a.reduce(0) { $0 + $1 * $1 } / Float(a.count)
            #expect(abs(variance / (bound * bound / 3) - 1) < 0.13)
            #expect(module.delta.b.array.allSatisfy { $0 == 0 })
        }
    }

    @Test func `the start follows from the seed`() {
        func start(_ seed: UInt64, _ shapes: [TrainableAdapter.Shape]) -> [Float] {
            TrainableAdapter(shapes: shapes, rank: 4, scale: 2, seed: seed).modules[1].delta.a.array
        }
        #expect(start(1, shapes) == start(1, shapes.reversed()))
        #expect(start(1, shapes) != start(2, shapes))
    }

    @Test func `another adapter's factors are copied, or refused`() throws {
        let source = TrainableAdapter(shapes: shapes, rank: 4, scale: 2, seed: 3)
        source.modules[2].delta.b[7] = 0.5
        let copy = try TrainableAdapter(
            shapes: shapes, rank: 4, scale: 1, copying: source, name: "source")
        for (a, b) in zip(copy.modules, source.modules) {
            #expect(a.delta.a.array == b.delta.a.array)
            #expect(a.delta.b.array == b.delta.b.array)
        }
        copy.modules[0].delta.a[0] += 1
        #expect(copy.modules[0].delta.a[0] != source.modules[0].delta.a[0])

        let error = #expect(throws: LorikeetError.self) {
            try TrainableAdapter(shapes: shapes, rank: 8, scale: 1, copying: source, name: "source")
        }
        #expect(error?.code == .mismatch)
        let more = shapes + [.init(path: .init(layer: 2, module: .up), inputSize: 4, outputSize: 4)]
        let missing = #expect(throws: LorikeetError.self) {
            try TrainableAdapter(shapes: more, rank: 4, scale: 1, copying: source, name: "source")
        }
        #expect(missing?.problem.contains("model.layers.2.mlp.up_proj") == true)
    }

    @Test func `gradients are clipped to the norm, as torch does`() {
        let adapter = TrainableAdapter(shapes: shapes, rank: 4, scale: 2, seed: 1)
        #expect(adapter.gradientNorm() == 0)
        adapter.modules[0].gradient.a[3] = 3
        adapter.modules[2].gradient.b[119] = -4
        #expect(adapter.gradientNorm() == 5)
        adapter.clipGradients(norm: 5, to: 6)
        #expect(adapter.gradientNorm() == 5)
        adapter.clipGradients(norm: 5, to: 1)
        // torch divides by the norm plus 1e-6.
        #expect(abs(adapter.gradientNorm() - 5 / 5.000001) < 1e-6)
        adapter.zeroGradients()
        #expect(adapter.gradientNorm() == 0)
    }

    @Test func `methods scale the product as they say`() {
        #expect(MethodName.lora.scale(rank: 16, alpha: 32) == 2)
        #expect(MethodName.rslora.scale(rank: 16, alpha: 32) == 8)
        #expect(MethodName.reflora.scale(rank: 16, alpha: 32) == 2)
        #expect(MethodName(rawValue: "reflora-s") == .refloraS)
        #expect(MethodName(rawValue: "full") == nil)
    }
}
