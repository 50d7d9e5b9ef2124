import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import Testing

/// PrecLoRA, LoRA-FA and LoRA-Pro against their papers' formulas, on small matrices.
@Suite struct PreconditionedMethodsTests {
    private let compute = Compute(threads: 2)
    private static let (inputs, outputs) = (40, 30)

    private func layer(
        rank: Int, scale: Double, seed: UInt64, learnsA: Bool = true
    ) -> (OneLayer, full: Matrix) {
        var generator = SeededGenerator(seed: seed)
        let layer = OneLayer(
            a: 0.5 * Matrix.random(rank, Self.inputs, &generator),
            b: 0.3 * Matrix.random(Self.outputs, rank, &generator), scale: scale, learnsA: learnsA)
        let full = Matrix.random(Self.outputs, Self.inputs, &generator)
        layer.setGradients(of: full)
        return (layer, full)
    }

    private func run(_ method: some Method, _ layer: OneLayer) throws -> RefactoringReport {
        try #require(method.beforeStep(0, adapter: layer.adapter, compute: compute))
    }

    private func damped(_ m: Matrix, _ damping: Double) -> Matrix {
        m - (-damping) * Matrix.identity(m.rows)
    }

    @Test(arguments: [1, 4, 16], [1e-8, 1e-2])
    func `PrecLoRA multiplies each gradient by the other factor's damped inverse`(
        rank: Int, damping: Double
    ) throws {
        let (layer, _) = layer(rank: rank, scale: 2, seed: 1)
        let (left, right) = (
            damped(layer.b.transposed * layer.b, damping).inverse,
            damped(layer.a * layer.a.transposed, damping).inverse
        )
        let (expectedA, expectedB) = (left * layer.dA, layer.dB * right)
        let report = try run(PrecLoRA(damping: damping), layer)
        // float64 but for one rounding to fp32.
        #expect(layer.dA.relativeError(to: expectedA) < 1e-7)
        #expect(layer.dB.relativeError(to: expectedB) < 1e-7)
        #expect(report.refactored == 1 && (report.conditionNumber ?? 0) >= 1)
    }

    @Test(arguments: [1, 4, 16])
    func `LoRA-FA's step is the full gradient's projection onto what A lets B reach`(
        rank: Int
    ) throws {
        let (layer, full) = layer(rank: rank, scale: 2, seed: 2, learnsA: false)
        let report = try run(LoRAFA(), layer)
        let (a, moved) = (layer.a, layer.scale * (layer.dB * layer.a))
        let projector = a.transposed * (a * a.transposed).inverse * a
        // fp32 gradients, and δ = 1e-8 beside eigenvalues of about 1.
        #expect(moved.relativeError(to: full * projector) < 1e-6)
        #expect(report.refactored == 1 && layer.module.gradient.a.count == 0)
    }

    @Test(arguments: [1, 4, 16], [0.5, 2])
    func `LoRA-Pro moves the product along the full gradient's projection`(
        rank: Int, scale: Double
    ) throws {
        let (layer, full) = layer(rank: rank, scale: scale, seed: 3)
        _ = try run(LoRAPro(), layer)
        let (a, b) = (layer.a, layer.b)
        let moved = scale * (b * layer.dA) - (-scale) * (layer.dB * a)
        let onA = a.transposed * (a * a.transposed).inverse * a
        let onB = b * (b.transposed * b).inverse * b.transposed
        // Theorem 2.1: the least distance is that of G's part outside both spaces.
        let outside =
            (Matrix.identity(Self.outputs) - onB) * full * (Matrix.identity(Self.inputs) - onA)
        // fp32 products and gradients at conditions up to 50.
        #expect(moved.relativeError(to: full - outside) < 1e-5)
    }

    @Test(arguments: [1, 4, 16])
    func `LoRA-Pro's X solves its Sylvester equation and is nearest to the plain gradients`(
        rank: Int
    ) throws {
        let scale = 1.5
        let (layer, _) = layer(rank: rank, scale: scale, seed: 4)
        let (a, b, plainA, plainB) = (layer.a, layer.b, layer.dA, layer.dB)
        _ = try run(LoRAPro(), layer)
        let (y, k) = (b.transposed * b, a * a.transposed)
        let part = 1 / (scale * scale) * (y.inverse * plainA)
        // gA − s⁻² Y⁻¹ dA = X A
        let x = (layer.dA - part) * a.transposed * k.inverse
        let right = -1 / (scale * scale) * (y.inverse * plainA * a.transposed)
        #expect((y * x - (-1) * (x * k)).relativeError(to: right) < 1e-4)
        func distance(_ shift: Matrix) -> Double {
            let (da, db) = (
                layer.dA - (-1) * (shift * a) - plainA, layer.dB - b * shift - plainB
            )
            return da.norm * da.norm + db.norm * db.norm
        }
        let least = distance(0 * x)
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<20 {
            let shift = 0.05 * x.norm / Double(rank) * Matrix.random(rank, rank, &generator)
            #expect(distance(shift) > least)
        }
    }

    @Test func `at B = 0 a first step moves B alone`() throws {
        for method: any Method in [PrecLoRA(), LoRAPro()] {
            var generator = SeededGenerator(seed: 6)
            let layer = OneLayer(
                a: Matrix.random(4, 40, &generator), b: 0 * Matrix.random(30, 4, &generator),
                scale: 2)
            layer.setGradients(of: Matrix.random(30, 40, &generator))
            let report = try #require(
                method.beforeStep(0, adapter: layer.adapter, compute: compute))
            #expect(report.refactored == 1)
            #expect(layer.dA.norm == 0 && layer.dB.norm > 0)
        }
    }

    @Test func `a layer without an inverse keeps its plain gradients, and is counted`() throws {
        for method: any Method in [PrecLoRA(), LoRAFA(), LoRAPro()] {
            let (layer, _) = layer(rank: 4, scale: 2, seed: 7, learnsA: method.learnsA)
            layer.module.delta.a[5] = .nan
            let (dA, dB) = (layer.module.gradient.a.array, layer.module.gradient.b.array)
            let report = try #require(
                method.beforeStep(0, adapter: layer.adapter, compute: compute))
            #expect(report.failed == 1 && report.refactored == 0)
            #expect(layer.module.gradient.a.array == dA && layer.module.gradient.b.array == dB)
        }
    }
}
