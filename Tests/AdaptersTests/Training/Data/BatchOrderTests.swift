import LorikeetAdapters
import LorikeetRuntime
import Testing

/// Which rows each step takes.
@Suite struct BatchOrderTests {
    /// Lengths of 2 to 64, most of them short.
    private static let rows = (0..<1000).map { index in
        let length = 2 + (index * index * 31 + index * 17) % 1021 * (index * 7 % 1009) / 16700
        return TrainingRow(
            inputIDs: [Int32](repeating: 1, count: length),
            labels: [Int32](repeating: 1, count: length))
    }

    private func options(
        _ batching: TrainingOptions.Batching, _ length: TrainingOptions.Length, accumulate: Int = 1
    ) -> TrainingOptions {
        var options = TrainingOptions()
        (options.batching, options.length, options.accumulate) = (batching, length, accumulate)
        return options
    }

    private func steps(_ order: BatchOrder) -> [[[Int]]] {
        var order = order
        return (0..<order.totalSteps).map { order.passes(of: $0) }
    }

    private func tokens(_ pass: [Int]) -> Int {
        pass.reduce(0) { $0 + Self.rows[$1].inputIDs.count }
    }

    @Test(arguments: [TrainingOptions.Batching.inOrder, .packed, .byLength], [1, 3])
    func `every epoch takes every row once`(
        batching: TrainingOptions.Batching, accumulate: Int
    ) {
        let order = BatchOrder(
            Self.rows, options: options(batching, .epochs(3), accumulate: accumulate),
            maximumLength: 64)
        let taken = steps(order).flatMap { $0 }.flatMap { $0 }
        #expect(taken.count == 3000)
        for epoch in 0..<3 {
            let rows = taken[1000 * epoch..<1000 * (epoch + 1)]
            #expect(rows.sorted() == Array(0..<1000))
        }
        #expect(taken[..<1000] != taken[1000..<2000])
        #expect(steps(order).dropLast().allSatisfy { $0.count == accumulate })
        #expect(steps(order).joined().map(tokens).max() ?? 0 <= order.maximumTokens)
    }

    @Test(arguments: [TrainingOptions.Batching.inOrder, .packed, .byLength])
    func `a step follows from its number alone`(batching: TrainingOptions.Batching) {
        let order = BatchOrder(Self.rows, options: options(batching, .steps(900)))
        let all = steps(order)
        for step in [899, 0, 400, 399] {
            var fresh = order
            #expect(fresh.passes(of: step) == all[step])
        }
        var other = options(batching, .steps(900))
        other.seed = 1
        #expect(steps(BatchOrder(Self.rows, options: other)) != all)
    }

    @Test func `packs are full and never beyond their room`() throws {
        let order = BatchOrder(
            Self.rows, options: options(.packed, .epochs(1)), maximumLength: 64)
        let packs = try #require(order.packs)
        #expect(packs.capacity == 4 * 64 && packs.tokens == tokens(Array(0..<1000)))
        #expect(packs.maximumTokens <= packs.capacity && order.maximumTokens == packs.maximumTokens)
        #expect((0..<packs.count).allSatisfy { tokens(Array(packs[$0])) <= packs.capacity })
        // Rows are short beside a pack; only the last ones are left with room.
        #expect(Double(packs.tokens) / Double(packs.count * packs.capacity) > 0.97)
        #expect(order.totalSteps == packs.count)
    }

    @Test func `rows that are not shuffled are packed in their order`() {
        var options = options(.packed, .epochs(1))
        options.shuffles = false
        let lengths = [40, 30, 30, 20, 10, 64, 3]
        let rows = lengths.map {
            TrainingRow(
                inputIDs: [Int32](repeating: 1, count: $0), labels: [Int32](repeating: 1, count: $0)
            )
        }
        options.batchSize = 1
        let order = BatchOrder(rows, options: options, maximumLength: 64)
        // First fit by hand: 40 + 20 + 3, 30 + 30, 10 to the second with 60 of 64? no: to a third.
        #expect(steps(order) == [[[0, 3, 6]], [[1, 2]], [[4]], [[5]]])
    }

    @Test func `batches by length are of similar rows, in no order of length`() {
        let order = BatchOrder(Self.rows, options: options(.byLength, .epochs(2)))
        func spread(_ steps: [[[Int]]]) -> Double {
            steps.joined().reduce(0.0) { sum, pass in
                let lengths = pass.map { Self.rows[$0].inputIDs.count }
                return sum + Double((lengths.max() ?? 0) - (lengths.min() ?? 0))
            }
        }
        let grouped = steps(order)
        let plain = steps(BatchOrder(Self.rows, options: options(.inOrder, .epochs(2))))
        // Fifty batches sorted by length differ far less within one than random ones do.
        #expect(spread(grouped) < spread(plain) / 10)
        let firsts = grouped[..<50].map { Self.rows[$0[0][0]].inputIDs.count }
        #expect(firsts != firsts.sorted() && firsts != firsts.sorted(by: >))
    }

    @Test func `batches by length stay whole across epochs that do not end with one`() {
        let rows = Array(Self.rows[..<199])
        let order = BatchOrder(rows, options: options(.byLength, .steps(150)))
        for (step, passes) in steps(order).enumerated() where 4 * (step % 50) + 8 < 199 {
            let lengths = passes[0].map { rows[$0].inputIDs.count }
            #expect(lengths == lengths.sorted(by: >), "step \(step)")
        }
    }
}
