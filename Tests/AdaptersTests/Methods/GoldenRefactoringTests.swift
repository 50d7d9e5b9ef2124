import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// The authors' implementation on recorded factors, and S in 80-digit arithmetic where it fails.
@Suite struct GoldenRefactoringTests {
    private let golden: GoldenFile
    private let compute = Compute(threads: 2, instructionSet: .current)
    private static let path = ModulePath(layer: 0, module: .query)

    init() throws {
        let url = try #require(
            Bundle.module.url(
                forResource: "reflora_math", withExtension: "safetensors", subdirectory: "Resources"
            ))
        golden = try GoldenFile(url)
    }

    private func matrix(_ name: String) -> Matrix {
        let shape = golden.shape(name)
        return Matrix(shape[0], shape[1], golden.doubles(name))
    }

    /// An adapter of one layer with a case's factors and gradients, in fp32.
    private func adapter(_ name: String) throws -> TrainableAdapter {
        let (a, b) = (matrix("\(name)/A"), matrix("\(name)/B"))
        let adapter = try TrainableAdapter(
            shapes: [.init(path: Self.path, inputSize: a.columns, outputSize: b.rows)],
            rank: a.rows,
            scale: 1,
            copying: OneDelta(
                delta: LowRankDelta(
                    a: Buffer(golden.floats("\(name)/A")), b: Buffer(golden.floats("\(name)/B")),
                    rank: a.rows, scale: 1)),
            name: name)
        let gradient = adapter.modules[0].gradient
        _ = gradient.a.elements.update(from: golden.floats("\(name)/gA"))
        _ = gradient.b.elements.update(from: golden.floats("\(name)/gB"))
        return adapter
    }

    private final class OneDelta: LowRankDeltas {
        let delta: LowRankDelta
        init(delta: LowRankDelta) { self.delta = delta }
        func delta(at path: ModulePath) -> LowRankDelta? {
            path == GoldenRefactoringTests.path ? delta : nil
        }
    }

    private func elements(_ buffer: Buffer<Float>, like other: Matrix) -> Matrix {
        Matrix(other.rows, other.columns, buffer.array.map(Double.init))
    }

    @Test(arguments: [
        // Rounding of the Gram matrices, 1e-16, times their condition.
        ("r4", 1e-13), ("r8", 1e-13), ("r16", 1e-13), ("early_r8", 1e-13), ("r4_f32", 1e-13),
        ("r8_f32", 1e-13), ("r16_f32", 1e-13), ("early_r8_f32", 1e-13), ("ill_r8", 1e-6),
        // cond(X) = cond(Y) = 1e12: there the authors' code gives NaN.
        ("ill_r8_1e6", 1e-2),
    ])
    func `S and the preconditioned gradients are the exact ones`(
        name: String, tolerance: Double
    ) throws {
        let (a, b) = (matrix("\(name)/A"), matrix("\(name)/B"))
        let s = try RefactoringMatrix(a: a.elements, b: b.elements, rank: a.rows)
        let (matrix, inverse) = (
            Matrix(a.rows, a.rows, s.elements), Matrix(a.rows, a.rows, s.inverse)
        )
        #expect(matrix.relativeError(to: self.matrix("\(name)/S_exact")) < tolerance)
        #expect(inverse.relativeError(to: self.matrix("\(name)/Sinv_exact")) < tolerance)
        let dA = inverse * self.matrix("\(name)/gA")
        let dB = self.matrix("\(name)/gB") * matrix
        #expect(dA.relativeError(to: self.matrix("\(name)/full_exact/gA")) < tolerance)
        #expect(dB.relativeError(to: self.matrix("\(name)/full_exact/gB")) < tolerance)
    }

    @Test(arguments: ["r4_f32", "r8_f32", "r16_f32", "early_r8_f32"])
    func `RefLoRA preconditions an adapter's gradients`(name: String) throws {
        let adapter = try adapter(name)
        let method = RefLoRA(schedule: RefactoringSchedule(warmup: 5))
        #expect(method.beforeStep(4, adapter: adapter, compute: compute) == nil)
        let report = try #require(method.beforeStep(5, adapter: adapter, compute: compute))
        #expect(report.refactored == 1 && report.skipped == 0 && report.failed == 0)
        let gradient = adapter.modules[0].gradient
        for (buffer, key) in [(gradient.a, "gA"), (gradient.b, "gB")] {
            let exact = matrix("\(name)/full_exact/\(key)")
            // One rounding to fp32.
            #expect(elements(buffer, like: exact).relativeError(to: exact) < 1e-7)
            // The authors work in fp32 throughout: cond(S) · 6e-8, and more for a B near zero.
            let authors = matrix("\(name)/full/\(key)")
            #expect(elements(buffer, like: authors).relativeError(to: authors) < 1e-4)
        }
    }

    @Test(arguments: ["rank3_r8", "rank3_r8_f32", "ill_r8_1e6"])
    func `where the authors' code gives NaN the gradients stay finite`(name: String) throws {
        #expect(matrix("\(name)/full/gA").elements.contains { $0.isNaN })
        let adapter = try adapter(name)
        let method = RefLoRA(schedule: RefactoringSchedule(warmup: 0))
        let report = try #require(method.beforeStep(0, adapter: adapter, compute: compute))
        #expect(report.refactored == 1)
        let gradient = adapter.modules[0].gradient
        #expect(gradient.a.array.filter { !$0.isFinite }.isEmpty)
        #expect(gradient.b.array.filter { !$0.isFinite }.isEmpty)
    }

    @Test func `a zero factor is skipped and keeps its gradients`() throws {
        let adapter = try adapter("zeroB_r4")
        let method = RefLoRA(schedule: RefactoringSchedule(warmup: 0))
        let report = try #require(method.beforeStep(0, adapter: adapter, compute: compute))
        #expect(report.skipped == 1 && report.refactored == 0 && report.conditionNumber == nil)
        #expect(adapter.modules[0].gradient.a.array == golden.floats("zeroB_r4/gA"))

        let optimizer = AdamW(adapter)
        let scalar = RefLoRAS(schedule: RefactoringSchedule(warmup: 0))
        let rescaling = try #require(
            scalar.afterStep(0, adapter: adapter, optimizer: optimizer, compute: compute))
        #expect(rescaling.skipped == 1)
        #expect(adapter.modules[0].delta.a.array == golden.floats("zeroB_r4/A"))
    }

    @Test func `a factor with NaN fails, is counted, and keeps its gradients`() throws {
        let adapter = try adapter("r4_f32")
        adapter.modules[0].delta.a[0] = .nan
        let report = try #require(
            RefLoRA(schedule: RefactoringSchedule(warmup: 0))
                .beforeStep(0, adapter: adapter, compute: compute))
        #expect(report.failed == 1 && report.refactored == 0)
        #expect(adapter.modules[0].gradient.b.array == golden.floats("r4_f32/gB"))
    }

    @Test(arguments: [
        "r4_f32", "r8_f32", "r16_f32", "early_r8_f32", "r4", "r8", "ill_r8", "ill_r8_1e6",
        "early_r8",
        "rank3_r8", "rank3_r8_f32",
    ])
    func `RefLoRA-S rescales factors and moments as the authors do`(name: String) throws {
        let adapter = try adapter(name)
        let optimizer = AdamW(adapter)
        let moments = optimizer.moments[0]
        let inputs = "\(name)/step_scalar/in"
        _ = moments[0].first.elements.update(from: golden.floats("\(inputs)/A.exp_avg"))
        _ = moments[0].second.elements.update(from: golden.floats("\(inputs)/A.exp_avg_sq"))
        _ = moments[1].first.elements.update(from: golden.floats("\(inputs)/B.exp_avg"))
        _ = moments[1].second.elements.update(from: golden.floats("\(inputs)/B.exp_avg_sq"))
        let method = RefLoRAS(schedule: RefactoringSchedule(warmup: 5))
        #expect(
            method.afterStep(3, adapter: adapter, optimizer: optimizer, compute: compute) == nil)
        let report = try #require(
            method.afterStep(4, adapter: adapter, optimizer: optimizer, compute: compute))
        #expect(report.refactored == 1)
        let delta = adapter.modules[0].delta
        // The moments' factor is the optimizer's to apply, with its next step.
        let (a, b) = (moments[0].scale, moments[1].scale)
        for (buffer, factor, key) in [
            (delta.a, 1, "A"), (delta.b, 1, "B"), (moments[0].first, a, "out/A.exp_avg"),
            (moments[0].second, a * a, "out/A.exp_avg_sq"), (moments[1].first, b, "out/B.exp_avg"),
            (moments[1].second, b * b, "out/B.exp_avg_sq"),
        ] {
            let expected = matrix("\(name)/step_scalar/\(key)")
            // The authors' norms are fp32 sums in the fp32 cases.
            #expect((factor * elements(buffer, like: expected)).relativeError(to: expected) < 1e-6)
        }
    }

    @Test(arguments: ["r4", "r8", "r16", "early_r8"])
    func `refactored factors equal the authors' up to a rotation`(name: String) throws {
        let (a, b) = (matrix("\(name)/A"), matrix("\(name)/B"))
        let refactored = try RefactoredFactors(a: a.elements, b: b.elements, rank: a.rows)
        let newA = Matrix(a.rows, a.columns, refactored.a)
        let newB = Matrix(b.rows, b.columns, refactored.b)
        let (authorsA, authorsB) = (matrix("\(name)/step_full/A"), matrix("\(name)/step_full/B"))
        // Rotations cancel in Aᵀ A and B Bᵀ. fp64 throughout; the authors' ε in 1 / (σ + ε) costs 1e-14.
        #expect(
            (newA.transposed * newA).relativeError(to: authorsA.transposed * authorsA) < 1e-11)
        #expect((newB * newB.transposed).relativeError(to: authorsB * authorsB.transposed) < 1e-11)
        #expect((newB * newA).relativeError(to: b * a) < 1e-12)
    }
}
