import Foundation
import LorikeetQuant
import LorikeetRuntime
import Testing

@Suite struct SamplerTests {
    private let compute = Compute(threads: 1)
    // Probabilities 1/2, 1/4, 1/8, 1/16, 1/16
    private let logits: [Float] = [0, -1, -2, -3, -3].map { Float($0 * log(2.0)) }

    private func sampler(prompt: [Int32] = [], _ set: (inout SamplingParameters) -> Void) -> Sampler
    {
        var parameters = SamplingParameters()
        set(&parameters)
        return Sampler(parameters, prompt: prompt, vocabulary: logits.count, compute: compute)
    }

    private func next(_ sampler: inout Sampler, _ logits: [Float]? = nil) -> Sampler.Choice {
        (logits ?? self.logits).withUnsafeBufferPointer { sampler.next($0) }
    }

    /// How often each token comes in `count` draws, as shares.
    private func shares(_ count: Int, _ set: (inout SamplingParameters) -> Void) -> [Double] {
        var sampler = sampler {
            $0.temperature = 1
            $0.seed = 7
            set(&$0)
        }
        var counts = [Int](repeating: 0, count: logits.count)
        for _ in 0..<count { counts[Int(next(&sampler).token)] += 1 }
        return counts.map { Double($0) / Double(count) }
    }

    // 20,000 draws: the standard deviation of a share is at most 0.0036, four of them 0.015.
    private func expect(_ shares: [Double], _ expected: [Double]) {
        for (share, expected) in zip(shares, expected) {
            #expect(abs(share - expected) < 0.015, "\(shares)")
            #expect((share == 0) == (expected == 0), "\(shares)")
        }
    }

    @Test func `temperature 0 takes the likeliest token and the first of equals`() {
        var greedy = sampler { _ in }
        #expect(next(&greedy).token == 0)
        #expect(next(&greedy, [1, 5, 5, 2, 0]).token == 1)
    }

    @Test func `draws follow the model's distribution`() {
        expect(shares(20_000) { _ in }, [0.5, 0.25, 0.125, 0.0625, 0.0625])
    }

    @Test func `temperature one half squares the probabilities`() {
        let squares = [64.0, 16, 4, 1, 1].map { $0 / 86 }
        expect(shares(20_000) { $0.temperature = 0.5 }, squares)
    }

    @Test func `top-k keeps the k likeliest`() {
        expect(shares(20_000) { $0.topK = 2 }, [2.0 / 3, 1.0 / 3, 0, 0, 0])
        expect(shares(20_000) { $0.topK = 4 }, [8.0 / 15, 4.0 / 15, 2.0 / 15, 1.0 / 15, 0])
        expect(shares(20_000) { $0.topK = 99 }, [0.5, 0.25, 0.125, 0.0625, 0.0625])
    }

    @Test func `top-p keeps the fewest tokens that reach it`() {
        expect(shares(20_000) { $0.topP = 0.7 }, [2.0 / 3, 1.0 / 3, 0, 0, 0])
        expect(shares(20_000) { $0.topP = 0.8 }, [4.0 / 7, 2.0 / 7, 1.0 / 7, 0, 0])
        expect(shares(2_000) { $0.topP = 0.001 }, [1, 0, 0, 0, 0])
        // The two least likely tokens are never sorted here, and yet count in the whole.
        expect(shares(20_000) { $0.topP = 0.55 }, [2.0 / 3, 1.0 / 3, 0, 0, 0])
    }

    @Test func `top-p counts what top-k left`() {
        // After top-k 2 the likeliest has 2/3: 0.6 is reached by it alone.
        expect(
            shares(2_000) {
                $0.topK = 2
                $0.topP = 0.6
            }, [1, 0, 0, 0, 0])
    }

    @Test func `min-p keeps what is likely beside the likeliest`() {
        expect(shares(20_000) { $0.minP = 0.2 }, [4.0 / 7, 2.0 / 7, 1.0 / 7, 0, 0])
        expect(shares(2_000) { $0.minP = 1 }, [1, 0, 0, 0, 0])
    }

    @Test func `the repetition penalty weighs prompt and answer`() {
        // Token 0 was in the prompt: 4 / 2 < 3. Then token 1: 3 / 2 < 2.5 of token 2.
        var penalized = sampler(prompt: [0]) { $0.repetitionPenalty = 2 }
        let logits: [Float] = [4, 3, 2.5, -1, -8]
        #expect(next(&penalized, logits).token == 1)
        #expect(next(&penalized, logits).token == 2)
        // A negative logit is multiplied: -1 · 2 < -1.5.
        #expect(next(&penalized, [-9, -9, -9, -1, -1.5]).token == 3)
        #expect(next(&penalized, [-9, -9, -9, -1, -1.5]).token == 4)
    }

    @Test func `presence and frequency penalties count the answer only`() {
        var presence = sampler(prompt: [0]) { $0.presencePenalty = 1.5 }
        let logits: [Float] = [4, 3, 0, 0, 0]
        #expect(next(&presence, logits).token == 0)
        #expect(next(&presence, logits).token == 1)
        #expect(next(&presence, logits).token == 0)
        var frequency = sampler { $0.frequencyPenalty = 0.75 }
        // 4, 3.25, then 2.5 < 3, then 2.25 < 2.5
        #expect((0..<4).map { _ in next(&frequency, logits).token } == [0, 0, 1, 0])
    }

    @Test func `the same seed gives the same tokens, another seed others`() {
        func draw(_ seed: UInt64) -> [Int32] {
            var sampler = sampler {
                $0.temperature = 1
                $0.seed = seed
            }
            return (0..<50).map { _ in next(&sampler).token }
        }
        #expect(draw(3) == draw(3))
        #expect(draw(3) != draw(4))
    }

    @Test func `log probabilities are the model's, before penalties and temperature`() {
        var sampler = sampler {
            $0.temperature = 0
            $0.presencePenalty = 9
            $0.topLogProbabilities = 2
        }
        let first = next(&sampler)
        // 1e-6: fp32 rounding of a log of a sum of five.
        #expect(abs(first.logProbability - log(0.5)) < 1e-6)
        #expect(first.top.map(\.token) == [0, 1])
        #expect(abs(first.top[1].logProbability - log(0.25)) < 1e-6)
        let second = next(&sampler)
        #expect(second.token == 1)
        #expect(abs(second.logProbability - log(0.25)) < 1e-6)
    }

    @Test func `only allowed tokens are chosen, whatever penalties and biases say`() {
        let mask = TokenMask(count: logits.count)
        mask.insert(3)
        mask.insert(4)
        #expect(mask.tokens == [3, 4] && mask.allowedCount == 2 && !mask.contains(5))
        for temperature: Float in [0, 0.7, 5] {
            var sampler = sampler(prompt: [3]) {
                $0.temperature = temperature
                $0.repetitionPenalty = 2
                $0.presencePenalty = -2
                $0.frequencyPenalty = 2
                $0.topK = 4
                $0.logitBias = [0: 100, 3: -100, 4: -100]
            }
            for _ in 0..<200 {
                let token = logits.withUnsafeBufferPointer {
                    sampler.next($0, allowed: mask).token
                }
                #expect(token >= 3)
            }
        }
    }

    @Test func `a draw among allowed tokens follows the model's distribution`() {
        let mask = TokenMask(count: logits.count)
        for token: Int32 in [0, 2, 4] { mask.insert(token) }
        var sampler = sampler { $0.temperature = 1 }
        var counts = [Int](repeating: 0, count: logits.count)
        for _ in 0..<20_000 {
            let token = logits.withUnsafeBufferPointer { sampler.next($0, allowed: mask).token }
            counts[Int(token)] += 1
        }
        // 1/2, 1/8 and 1/16 of what is left of the whole
        expect(counts.map { Double($0) / 20_000 }, [8.0 / 11, 0, 2.0 / 11, 0, 1.0 / 11])
    }

    @Test func `log probabilities under a mask are the model's`() {
        let mask = TokenMask(count: logits.count)
        mask.insert(1)
        var sampler = sampler { $0.topLogProbabilities = 1 }
        let choice = logits.withUnsafeBufferPointer { sampler.next($0, allowed: mask) }
        #expect(choice.token == 1 && choice.top.map(\.token) == [0])
        // 1e-6: fp32 rounding of a log of a sum of five.
        #expect(abs(choice.logProbability - log(0.25)) < 1e-6)
    }

    @Test func `a logit bias is added before the choice`() {
        var biased = sampler { $0.logitBias = [4: 3 * Float(log(2.0)) + 0.01, 99: 50, -1: 50] }
        #expect(next(&biased).token == 4)
        // Twice as likely, then all divided by the new sum.
        expect(
            shares(20_000) { $0.logitBias = [1: Float(log(2.0))] },
            [0.5, 0.5, 0.125, 0.0625, 0.0625].map { $0 / 1.25 })
        expect(
            shares(2_000) { $0.logitBias = [0: -100] }.map { $0 > 0 ? 1 : 0 }, [0, 1, 1, 1, 1])
    }
}
