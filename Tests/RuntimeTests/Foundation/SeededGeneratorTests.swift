import LorikeetRuntime
import Testing

@Suite struct SeededGeneratorTests {
    @Test func `the sequence is SplitMix64's`() {
        // the published reference values for the seed 1234567
        var generator = SeededGenerator(seed: 1_234_567)
        #expect(
            (0..<3).map { _ in generator.next() } == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
    }

    @Test func `a saved state goes on where it was`() {
        var generator = SeededGenerator(seed: 3)
        _ = generator.next()
        var resumed = SeededGenerator(seed: generator.state)
        #expect(resumed.next() == generator.next())
    }

    @Test(arguments: [1, 2, 3, 10]) func `bounded numbers are all there and even`(bound: Int) {
        var generator = SeededGenerator(seed: 1)
        var counts = [Int](repeating: 0, count: bound)
        for _ in 0..<10_000 { counts[generator.integer(below: bound)] += 1 }
        // six standard deviations of a binomial count of 10,000 draws: at most 6 · √2500 = 300
        for count in counts { #expect(abs(count - 10_000 / bound) <= 300) }
    }

    @Test(arguments: [0, 1, 2, 5, 100]) func `an order holds every number once`(count: Int) {
        var generator = SeededGenerator(seed: 5)
        #expect(generator.order(of: count).sorted() == Array(0..<count))
    }

    @Test func `every order of three is as likely`() {
        var generator = SeededGenerator(seed: 9)
        var counts: [[Int]: Int] = [:]
        for _ in 0..<6000 { counts[generator.order(of: 3), default: 0] += 1 }
        #expect(counts.count == 6)
        // 1000 expected of 6000 draws, standard deviation 29: six of them
        for count in counts.values { #expect(abs(count - 1000) <= 174) }
    }
}
