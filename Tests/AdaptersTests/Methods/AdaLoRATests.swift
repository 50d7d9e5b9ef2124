import LorikeetAdapters
import LorikeetQuant
import LorikeetRuntime
import TestSupport
import Testing

/// What the run against PEFT's RankAllocator (TrainerTests) does not reach.
@Suite struct AdaLoRATests {
    @Test func `the budget stays, falls, and stays`() {
        let budget = AdaLoRA.Budget(AdaLoRA.Options(), rank: 12, totalSteps: 100)
        #expect((budget.warmup, budget.end, budget.targetRank) == (10, 67, 8))
        let counts = (1...100).map { budget.triplets(after: $0, layers: 10, rank: 12) }
        #expect(counts[..<10].allSatisfy { $0 == nil })
        let falling = counts[10..<67].compactMap { $0 }
        #expect(falling.count == 57 && falling == falling.sorted(by: >))
        #expect(falling.first.map { $0 < 120 } == true && falling.last == 80)
        #expect(counts[67...].allSatisfy { $0 == nil })
    }

    @Test(arguments: 1...12)
    func `a run of any length has a last choice`(totalSteps: Int) {
        let budget = AdaLoRA.Budget(AdaLoRA.Options(), rank: 4, totalSteps: totalSteps)
        #expect((1...totalSteps).contains(budget.end) && budget.warmup < budget.end)
        #expect(budget.triplets(after: budget.end, layers: 3, rank: 4) == 6)
    }

    @Test func `a start from another adapter keeps its product`() {
        var generator = SeededGenerator(seed: 31)
        let (a, b) = (Matrix.random(4, 24, &generator), Matrix.random(20, 4, &generator))
        let layer = OneLayer(a: a, b: b)
        let optimizer = AdaLoRA(totalSteps: 99, seed: 1).makeOptimizer(
            for: layer.adapter, options: AdamW.Options())
        // A step of length 0 writes B from P and E.
        optimizer.step(
            layer.adapter, learningRateA: 0, learningRateB: 0, compute: Compute(threads: 1))
        // P, E and their product are rounded to fp32 once each.
        #expect(layer.b.relativeError(to: b) < 3e-7)
        #expect(layer.a == OneLayer(a: a, b: b).a)
    }

    @Test func `unused ranks are left out of what is saved, and the terms stay`() throws {
        let paths = [
            ModulePath(layer: 1, module: .query), ModulePath(layer: 1, module: .down),
            ModulePath(layer: 11, module: .query),
        ]
        var deltas: [ModulePath: LowRankDelta] = [:]
        for (index, path) in paths.enumerated() {
            deltas[path] = LowRankDelta(
                a: noise(6 * 8, seed: UInt64(index)), b: noise(10 * 6, seed: 9), rank: 6,
                scale: 16 / 6)
        }
        for (path, ranks) in zip(paths, [[1, 4], Array(0..<6), []]) {
            for k in ranks { for row in 0..<10 { deltas[path]?.b[row * 6 + k] = 0 } }
        }
        let before = deltas.mapValues(product)
        var configuration = AdapterConfiguration(rank: 6, alpha: 16)
        configuration.leaveOutUnusedRanks(of: &deltas)
        #expect(paths.map { deltas[$0]?.rank } == [4, 1, 6])
        for path in paths {
            let after = try #require(deltas[path].map(product))
            #expect(after.elements == before[path]?.elements)
        }
        let terms = try configuration.terms(at: paths, source: "test")
        for path in paths {
            #expect(terms[path]?.rank == deltas[path]?.rank && terms[path]?.scale == 16 / 6)
        }
    }

    private func product(_ delta: LowRankDelta) -> Matrix {
        let (r, a, b) = (delta.rank, delta.a.array, delta.b.array)
        return Matrix(b.count / r, r, b.map(Double.init))
            * Matrix(
                r, a.count / r, a.map(Double.init))
    }
}
