import Foundation
import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

@Suite struct MemoryPlanTests {
    private func base() throws -> MemoryPlan.Base {
        let folder = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
        ).path(percentEncoded: false)
        return try MemoryPlan.Base(Checkpoints.open(folder), precision: .int16, threads: 2)
    }

    private let data = MemoryPlan.Data(maximumLength: 256)

    private func tuning(
        batch: Int = 4, accumulate: Int = 3, recomputes: Bool = false, maximum: Int? = nil
    ) -> FineTuning {
        var options = FineTuning.Options()
        options.training.batchSize = batch
        options.training.accumulate = accumulate
        options.recomputesBlocks = recomputes
        options.maximumMemory = maximum
        return FineTuning(options: options)
    }

    // MARK: Formulas

    @Test(arguments: [1, 16, 700])
    func `factors, gradients and moments take what the formulas say`(rank: Int) {
        let shapes = TrainableAdapter.Shape.shapes(of: [.query, .down], in: smallModel)
        for name in MethodName.allCases {
            let method = name.method(MethodSettings(totalSteps: 10))
            let norms =
                method.trainsMagnitudes
                ? RowNorms(on: Compute(threads: 1), weight: { _ in nil }) : nil
            let adapter = AllocationMeter.measure {
                TrainableAdapter(
                    shapes: shapes, rank: rank, scale: 1, norms: norms, learnsA: method.learnsA)
            }
            let memory = TrainableAdapter.memory(shapes, rank: rank, method: method)
            #expect(adapter.bytes == memory.factors + memory.gradients, "\(name)")
            let difference = AllocationMeter.measure { adapter.result.subtractStart() }
            let whole = TrainableAdapter.memory(
                shapes, rank: rank, method: method, subtractsStart: true)
            #expect(
                adapter.bytes + difference.bytes == whole.factors + whole.gradients, "\(name)")
            let optimizer = AllocationMeter.measure {
                method.makeOptimizer(for: adapter.result, options: AdamW.Options())
            }
            #expect(
                optimizer.bytes == method.optimizerMemory(for: shapes, rank: rank), "\(name)")
        }
    }

    @Test(arguments: [4, 12])
    func `RefLoRA works with what its formula says`(rank: Int) {
        let adapter = TrainableAdapter(
            shapes: TrainableAdapter.Shape.shapes(of: LinearModule.llama, in: smallModel),
            rank: rank, scale: 1, seed: 0)
        var random = SeededGenerator(seed: 2)
        for module in adapter.modules {
            _ = module.delta.b.elements.update(from: random.floats(module.delta.b.count))
        }
        let (method, compute) = (
            RefLoRA(schedule: RefactoringSchedule(warmup: 0)), Compute(threads: 2)
        )
        let step = AllocationMeter.measure {
            method.beforeStep(0, adapter: adapter, compute: compute)
        }
        #expect(step.peak == method.scratchMemory(rank: rank, threads: 2))
    }

    @Test func `shapes are those of the model that is loaded`() throws {
        let folder = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/llama_rope3_gqa_tied"
        ).path(percentEncoded: false)
        let model = try DecoderModel(checkpoint: Checkpoints.open(folder), on: Compute())
        for shape in TrainableAdapter.Shape.shapes(
            of: LinearModule.llama, in: model.configuration)
        {
            let weight = try #require(model.weight(at: shape.path))
            #expect(weight.columns == shape.inputSize && weight.rows == shape.outputSize)
        }
    }

    // MARK: The plan

    @Test func `the peak is the sum of its parts, and packing excludes the pass`() throws {
        let plan = tuning().memoryPlan(try base(), data: data)
        #expect(plan.peak == plan.parts.values.reduce(0, +))
        #expect(plan.parts[.activations] != nil && plan.parts[.packing] == nil)
        #expect(plan.packing[.activations] == nil && plan.packing[.packing] != nil)
        #expect(plan.parts.values.allSatisfy { $0 >= 0 })
        // An adapter that outweighs the pass: then packing is the peak.
        var options = tuning(batch: 1, recomputes: true).options
        (options.rank, options.training.method) = (1024, .lora)
        let heavy = FineTuning(options: options).memoryPlan(
            try base(), data: MemoryPlan.Data(maximumLength: 2))
        #expect(heavy.parts[.packing] != nil && heavy.parts[.activations] == nil)
    }

    @Test func `larger passes, longer rows and kept activations plan for more`() throws {
        let base = try base()
        let usual = tuning().memoryPlan(base, data: data).peak
        #expect(tuning(batch: 8).memoryPlan(base, data: data).peak > usual)
        #expect(tuning(accumulate: 9).memoryPlan(base, data: data).peak == usual)
        #expect(tuning(recomputes: true).memoryPlan(base, data: data).peak < usual)
        #expect(
            tuning().memoryPlan(base, data: MemoryPlan.Data(maximumLength: 300)).peak > usual)
    }

    // MARK: The choice

    /// How slow a way to run is, the most important first.
    private func slowness(_ tuning: FineTuning) -> [Int] {
        let options = tuning.options
        return [
            options.recomputesBlocks ? 1 : 0, -options.training.batchSize,
            -(options.lossChunk ?? .max),
        ]
    }

    @Test func `more memory is never slower, and a step's rows stay the same`() throws {
        let base = try base()
        let (largest, smallest) = (
            tuning().memoryPlan(base, data: data).peak,
            tuning(batch: 1, recomputes: true).memoryPlan(base, data: data).peak
        )
        var earlier: [Int]?
        var found: Set<[Int]> = []
        for maximum in stride(from: smallest, through: largest, by: (largest - smallest) / 60) {
            let fitted = try tuning(maximum: maximum).fitted(base, data: data)
            #expect(fitted.memoryPlan(base, data: data).peak <= maximum)
            let training = fitted.options.training
            #expect(training.batchSize * training.accumulate == 12)
            let slowness = slowness(fitted)
            if let earlier { #expect(!earlier.lexicographicallyPrecedes(slowness)) }
            earlier = slowness
            found.insert(slowness)
            // The choice stands where it is made again.
            let again = try fitted.fitted(base, data: data)
            #expect(self.slowness(again) == slowness)
        }
        #expect(found.count > 3)
        let whole = try tuning(maximum: largest).fitted(base, data: data)
        #expect(whole.options.training.batchSize == 4 && !whole.options.recomputesBlocks)
        #expect(whole.options.lossChunk == nil)
    }

    @Test func `without a limit nothing is chosen, and what recomputes keeps doing so`() throws {
        let base = try base()
        #expect(slowness(try tuning().fitted(base, data: data)) == slowness(tuning()))
        let fitted = try tuning(recomputes: true, maximum: 1 << 40).fitted(base, data: data)
        #expect(fitted.options.recomputesBlocks && fitted.options.training.batchSize == 4)
    }

    @Test func `what cannot fit is refused with the smallest peak there is`() throws {
        let base = try base()
        let error = try failure { _ = try tuning(maximum: 1_000_000).fitted(base, data: data) }
        #expect(error.subject == "--max-memory")
        #expect(error.got == "1.0 MB")
        let words = try #require(error.expected).split(separator: " ")
        let smallest = try #require(words.dropLast().last.flatMap { Int($0) })
        #expect(try tuning(maximum: smallest).fitted(base, data: data).options.recomputesBlocks)
        #expect(throws: LorikeetError.self) {
            try tuning(maximum: smallest - 1).fitted(base, data: data)
        }
        #expect(error.advice?.contains("largest part") == true)
    }

    @Test func `a run above its limit is told of once`() throws {
        let plan = tuning().memoryPlan(try base(), data: data)
        var notes: [String] = []
        var watch = MemoryWatch(plan, limit: 1000)
        for _ in 0..<3 { #expect(watch.check { notes.append($0) } > 1000) }
        #expect(notes.count == 1)
        #expect(notes[0].contains("1.0 kB") && notes[0].contains("planned"))
        var quiet = MemoryWatch(plan, limit: 1 << 50)
        quiet.check { _ in Issue.record("there is no cause for a note") }
        var unlimited = MemoryWatch(plan, limit: nil)
        unlimited.check { _ in Issue.record("there is no limit") }
    }

    // MARK: What it changes

    @Test func `four passes of one row have the gradient of one pass of four`() throws {
        let folder = Fixtures.root.appending(
            path: "Tests/RuntimeTests/Resources/tiny/llama_plain_mha"
        ).path(percentEncoded: false)
        let compute = Compute(threads: 2, precision: .fp32)
        let model = try DecoderModel(checkpoint: Checkpoints.open(folder), on: compute)
        let rows = (0..<4).map { row in
            let ids = (0..<Int32(20 + 9 * row)).map { ($0 * 11 + Int32(row)) % 200 }
            return TrainingRow(inputIDs: ids, labels: ids)
        }
        func gradient(batch: Int, recomputes: Bool, chunk: Int?) throws -> [Float] {
            let adapter = TrainableAdapter(
                shapes: TrainableAdapter.Shape.shapes(
                    of: LinearModule.llama, in: model.configuration),
                rank: 4, scale: 1, seed: 1)
            var random = SeededGenerator(seed: 2)
            for module in adapter.modules {
                _ = module.delta.b.elements.update(
                    from: random.floats(module.delta.b.count, scale: 0.1))
            }
            let pass = TrainingPass(
                model: model, compute: compute, maximumTokens: 4 * 47,
                recomputesBlocks: recomputes, lossChunk: chunk)
            let targets = rows.reduce(0) { $0 + $1.targetCount }
            for begin in stride(from: 0, to: 4, by: batch) {
                _ = try pass.accumulate(
                    Array(rows[begin..<begin + batch]), adapter: adapter,
                    lossScale: 1 / Float(targets))
            }
            return adapter.modules.flatMap { $0.gradient.a.array + $0.gradient.b.array }
        }
        let whole = try gradient(batch: 4, recomputes: false, chunk: nil)
        let largest = whole.reduce(0) { max($0, abs($1)) }
        #expect(largest > 0)
        for (batch, recomputes, chunk) in [(1, false, nil), (2, true, 16)] as [(Int, Bool, Int?)] {
            let parts = try gradient(batch: batch, recomputes: recomputes, chunk: chunk)
            // The same products; their sums over tokens are rounded in another order: a few units in the
            // last place of the largest.
            for (a, b) in zip(whole, parts) { #expect(abs(a - b) <= 1e-5 * largest) }
        }
    }
}
