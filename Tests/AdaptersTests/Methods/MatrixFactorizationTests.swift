import Testing

@Suite struct MatrixFactorizationTests {
    @Test(arguments: [UInt64(1), 2, 3])
    func `RefLoRA converges where LoRA diverges and ScaledGD crawls`(seed: UInt64) throws {
        let experiment = MatrixFactorization(rate: 0.03, seed: seed)
        let refactored = try experiment.losses(.refactored, iterations: 20)
        #expect((500...2000).contains(refactored[0]))
        // The paper: about 12. Which start it was decides between 11 and 17.
        let reached = try #require(refactored.firstIndex { $0 < 1e-3 })
        #expect(reached <= 18)
        let plain = try experiment.losses(.plain, iterations: 20)
        #expect(plain.last.map { !($0 < 1e6) } == true)
        // ScaledGD contracts by (1 - 2 · 0.03)² a step at best.
        #expect(try experiment.losses(.scaled, iterations: 20)[19] > 1)
    }
}
