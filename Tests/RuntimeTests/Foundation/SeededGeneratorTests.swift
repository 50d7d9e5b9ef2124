import LorikeetRuntime
import Testing

@Suite struct SeededGeneratorTests {
    @Test func `the sequence is xoshiro256++'s`() {
        // The reference implementation from the state 1, 2, 3, 4.
        var generator = SeededGenerator(state: (1, 2, 3, 4))
        let first = (0..<4).map { _ in generator.next() }
        #expect(first == [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386])
    }

    @Test func `a kept state goes on where it stopped`() {
        var generator = SeededGenerator(seed: 7)
        _ = generator.next()
        var other = SeededGenerator(state: generator.state)
        #expect(other == generator)
        #expect((0..<9).map { _ in generator.next() } == (0..<9).map { _ in other.next() })
        #expect(generator == other)
    }

    @Test func `normal numbers have mean 0, variance 1 and normal tails`() {
        var generator = SeededGenerator(seed: 1)
        let values = (0..<40_000).map { _ in generator.normal() }
        let mean = values.reduce(0, +) / 40_000
        let variance = values.reduce(0) { $0 + $1 * $1 } / 40_000
        let tail = values.count { $0.magnitude > 2 }
        // Within four standard errors: 1/√n of the mean, √2/√n of the variance, 42 of the 1,820 beyond 2.
        #expect(mean.magnitude < 0.02)
        #expect((variance - 1).magnitude < 0.0283)
        #expect((tail - 1820).magnitude < 168)
    }

    @Test func `integers are in range and shuffles are permutations`() {
        var generator = SeededGenerator(seed: 1)
        var counts = [Int](repeating: 0, count: 7)
        for _ in 0..<7000 { counts[generator.integer(below: 7)] += 1 }
        // 1000 each, within five standard deviations of 29.
        #expect(counts.allSatisfy { abs($0 - 1000) < 150 })
        for _ in 0..<100 { #expect((0..<1).contains(generator.uniform())) }
        var numbers = Array(0..<50)
        generator.shuffle(&numbers)
        #expect(numbers != Array(0..<50) && numbers.sorted() == Array(0..<50))
    }
}
