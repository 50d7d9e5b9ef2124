import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// Layers are preconditioned eight at once: nobody must notice.
@Suite struct RefactoringBatchTests {
    private let method = RefLoRA(schedule: RefactoringSchedule(warmup: 0))

    private static let outputSize = 90

    private enum Kind { case usual, zero, deficient, broken }

    /// What the layer of that index is like.
    private static func kind(_ index: Int) -> Kind {
        switch index % 17 {
        case 3, 12: .zero
        case 5: .deficient
        case 10: .broken
        default: .usual
        }
    }

    /// An adapter of the layers `indices`, which have the same numbers in whatever company.
    private func adapter(_ indices: Range<Int>, rank: Int) -> TrainableAdapter {
        let shapes = indices.map {
            TrainableAdapter.Shape(
                path: ModulePath(layer: $0, module: .up), inputSize: 66 + $0,
                outputSize: Self.outputSize)
        }
        let adapter = TrainableAdapter(shapes: shapes, rank: rank, scale: 1, seed: 1)
        for (module, index) in zip(adapter.modules, indices) {
            func fill(_ buffer: Buffer<Float>, _ seed: Int) {
                _ = buffer.elements.update(
                    from: noise(buffer.count, seed: UInt64(seed)).array)
            }
            fill(module.delta.a, 4 * index + 1)
            fill(module.delta.b, 4 * index + 2)
            fill(module.gradient.a, 4 * index + 3)
            fill(module.gradient.b, 4 * index + 4)
            switch Self.kind(index) {
            case .usual: break
            case .zero: module.delta.b.elements.update(repeating: 0)
            case .deficient:
                // Its last column is its first: of rank 1 nothing is missing.
                for row in 0..<Self.outputSize {
                    module.delta.b[row * rank + rank - 1] = module.delta.b[row * rank]
                }
            case .broken: module.delta.a[7] = .nan
            }
        }
        return adapter
    }

    private func precondition(
        _ adapter: TrainableAdapter, threads: Int, _ instructionSet: InstructionSet = .current
    ) throws -> RefactoringReport {
        let compute = Compute(threads: threads, instructionSet: instructionSet)
        return try #require(method.beforeStep(0, adapter: adapter, compute: compute))
    }

    @Test(arguments: [1, 7, 8, 9, 17], [1, 4, 8, 16, 64])
    func `a batch is its layers one by one, bit for bit`(count: Int, rank: Int) throws {
        let batch = adapter(0..<count, rank: rank)
        let report = try precondition(batch, threads: 3)
        var sum = RefactoringReport()
        for (index, together) in batch.modules.enumerated() {
            let single = adapter(index..<index + 1, rank: rank)
            let one = try precondition(single, threads: 1)
            sum.refactored += one.refactored
            sum.skipped += one.skipped
            sum.failed += one.failed
            sum.clamped += one.clamped
            sum.conditionNumber = [sum.conditionNumber, one.conditionNumber].compactMap(\.self)
                .max()
            let alone = single.modules[0]
            #expect(together.gradient.a.array == alone.gradient.a.array)
            #expect(together.gradient.b.array == alone.gradient.b.array)
        }
        #expect(report == sum)
        let kinds = (0..<count).map(Self.kind)
        #expect(report.skipped == kinds.count { $0 == .zero })
        #expect(report.failed == kinds.count { $0 == .broken })
        #expect(report.clamped == (rank > 1 ? kinds.count { $0 == .deficient } : 0))
    }

    @Test(arguments: InstructionSet.supported, [1, 4, 8, 16, 64])
    func `gradients are multiplied by S⁻¹ and S, or left alone`(
        instructionSet: InstructionSet, rank: Int
    ) throws {
        let (before, after) = (adapter(0..<17, rank: rank), adapter(0..<17, rank: rank))
        _ = try precondition(after, threads: 2, instructionSet)
        func matrix(_ buffer: Buffer<Float>, rows: Int) -> Matrix {
            Matrix(rows, buffer.count / rows, buffer.array.map(Double.init))
        }
        for (old, new) in zip(before.modules, after.modules) {
            let dA = matrix(new.gradient.a, rows: rank)
            let dB = matrix(new.gradient.b, rows: Self.outputSize)
            switch Self.kind(old.index) {
            case .zero, .broken:
                #expect(new.gradient.a.array == old.gradient.a.array)
                #expect(new.gradient.b.array == old.gradient.b.array)
            case .usual, .deficient:
                let s = try RefactoringMatrix(
                    a: old.delta.a.array.map(Double.init), b: old.delta.b.array.map(Double.init),
                    rank: rank)
                let expectedA =
                    Matrix(rank, rank, s.inverse) * matrix(old.gradient.a, rows: rank)
                let expectedB =
                    matrix(old.gradient.b, rows: Self.outputSize) * Matrix(rank, rank, s.elements)
                // One rounding to fp32. At the floor's condition of 1e12 Gram matrices that were summed in
                // another order, 1e-16, differ by 1e-4 in what they lack.
                let tolerance = s.isClamped ? 1e-3 : 1e-7
                #expect(dA.relativeError(to: expectedA) < tolerance)
                #expect(dB.relativeError(to: expectedB) < tolerance)
            }
        }
    }

    @Test func `a product beyond fp32 fails and leaves both gradients`() throws {
        let adapter = adapter(0..<2, rank: 4)
        adapter.modules[1].gradient.b[5] = 3e38
        adapter.modules[1].delta.b.elements.indices.forEach {
            adapter.modules[1].delta.b[$0] *= 1e4
        }
        let before = adapter.modules[1].gradient.a.array
        let report = try precondition(adapter, threads: 1)
        #expect(report.failed == 1 && report.refactored == 1)
        #expect(adapter.modules[1].gradient.a.array == before)
        #expect(adapter.modules[1].gradient.b[5] == 3e38)
    }
}
