import HeapModule
public import LorikeetQuant
import QuantKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Chooses tokens of one answer; the same seed, prompt and logits give the same tokens.
public struct Sampler {
    /// A chosen token.
    public struct Choice: Sendable, Equatable {
        /// The token.
        public var token: Int32
        /// Its log p under the model, before penalties and temperature; 0 where it was not asked for.
        public var logProbability: Float
        /// The likeliest tokens under the model with their log p, most likely first.
        public var top: [TokenLogProbability]
    }

    /// A token and its log p.
    public struct TokenLogProbability: Sendable, Equatable {
        /// The token.
        public var token: Int32
        /// Its natural log probability.
        public var logProbability: Float
    }

    private let parameters: SamplingParameters
    private let compute: Compute
    private var generator: SeededGenerator
    private var isInPrompt: Set<Int32>
    private var answerCounts: [Int32: Int] = [:]
    // Logits, then probabilities [vocabulary]
    private let p: Buffer<Float>

    /// Prepares to choose the tokens of one answer.
    ///
    /// - Parameters:
    ///   - parameters: how to choose.
    ///   - prompt: what the repetition penalty counts besides the answer.
    ///   - vocabulary: how many logits there are.
    ///   - compute: whose kernels to use.
    public init(
        _ parameters: SamplingParameters, prompt: [Int32], vocabulary: Int, compute: Compute
    ) {
        self.parameters = parameters
        self.compute = compute
        generator = SeededGenerator(seed: parameters.seed)
        isInPrompt = parameters.repetitionPenalty == 1 ? [] : Set(prompt)
        p = Buffer(vocabulary)
    }

    /// Chooses the next token.
    ///
    /// - Parameters:
    ///   - logits: [vocabulary], the model's for the next position.
    ///   - allowed: the tokens to choose from; nil for all. What is reported is the model's either way.
    /// - Returns: the token, and what was asked to be reported with it.
    public mutating func next(
        _ logits: UnsafeBufferPointer<Float>, allowed: TokenMask? = nil
    ) -> Choice {
        precondition(logits.count == p.count, "\(logits.count) logits instead of \(p.count)")
        let (top, logSum) = report(logits)
        p.pointer.update(from: logits.baseAddress!, count: p.count)
        // −∞ stays what it is whatever is added to it or multiplied.
        allowed?.clear(p.elements, to: -.infinity)
        for (token, bias) in parameters.logitBias where token >= 0 && token < p.count {
            p[Int(token)] += bias
        }
        penalize()
        let token = parameters.temperature == 0 ? p.elements.likeliestToken : draw(allowed)
        answerCounts[token, default: 0] += 1
        return Choice(
            token: token, logProbability: logSum.map { logits[Int(token)] - $0 } ?? 0, top: top)
    }

    /// What is reported of `token`, which was there already, where the model would have chosen from `logits`.
    public func choice(of token: Int32, _ logits: UnsafeBufferPointer<Float>) -> Choice {
        precondition(logits.count == p.count, "\(logits.count) logits instead of \(p.count)")
        let (top, logSum) = report(logits)
        return Choice(
            token: token, logProbability: logSum.map { logits[Int(token)] - $0 } ?? 0, top: top)
    }

    /// The likeliest tokens and log Σ exp of the logits, where they are asked for.
    private func report(
        _ logits: UnsafeBufferPointer<Float>
    ) -> (top: [TokenLogProbability], logSum: Float?) {
        guard let count = parameters.topLogProbabilities else { return ([], nil) }
        p.pointer.update(from: logits.baseAddress!, count: p.count)
        let logSum = compute.kernels.softmax(p.pointer, p.count, 1)
        let top = likeliest(count).map {
            TokenLogProbability(token: $0.token, logProbability: logits[Int($0.token)] - logSum)
        }
        return (top, logSum)
    }

    private func penalize() {
        if parameters.repetitionPenalty != 1 {
            for token in isInPrompt.union(answerCounts.keys) where Int(token) < p.count {
                let logit = p[Int(token)]
                p[Int(token)] =
                    logit > 0
                    ? logit / parameters.repetitionPenalty : logit * parameters.repetitionPenalty
            }
        }
        guard parameters.presencePenalty != 0 || parameters.frequencyPenalty != 0 else { return }
        for (token, count) in answerCounts {
            p[Int(token)] -=
                parameters.presencePenalty + Float(count) * parameters.frequencyPenalty
        }
    }

    private mutating func draw(_ allowed: TokenMask?) -> Int32 {
        _ = compute.kernels.softmax(p.pointer, p.count, 1 / parameters.temperature)
        // Some kernels' exponential of −∞ is the least positive number.
        allowed?.clear(p.elements, to: 0)
        let uniform = Double.random(in: 0..<1, using: &generator)
        guard parameters.topK > 0 || parameters.topP < 1 || parameters.minP > 0 else {
            return Self.pick(p.elements.enumerated().lazy.map { (Int32($0), $1) }, uniform, of: 1)
        }
        let kept = candidates()
        let mass = kept.reduce(0) { $0 + Double($1.probability) }
        return Self.pick(kept.lazy.map { ($0.token, $0.probability) }, uniform, of: mass)
    }

    /// What top-k, top-p and min-p leave, likeliest first; never empty.
    private func candidates() -> [Candidate] {
        var kept =
            parameters.topK > 0 && parameters.topK < p.count
            ? likeliest(parameters.topK)
            // Tokens below (1 - topP) / V make up less than 1 - topP in all, so top-p cuts every
            // one of them: only the others are sorted.
            : above((1 - parameters.topP) / Float(p.count))
        if parameters.topP < 1 {
            // Of what top-k left; without it, of everything, the unlikely tail included.
            let mass =
                parameters.topK > 0 && parameters.topK < p.count
                ? kept.reduce(0) { $0 + Double($1.probability) } : 1
            let wanted = Double(parameters.topP) * mass
            var sum = 0.0
            let cut = kept.firstIndex { candidate in
                sum += Double(candidate.probability)
                return sum >= wanted
            }
            if let cut { kept.removeSubrange((cut + 1)...) }
        }
        let floor = parameters.minP * kept[0].probability
        return kept.filter { $0.probability >= floor }
    }

    private struct Candidate: Comparable {
        var token: Int32
        var probability: Float

        // Of equally likely tokens the one with the smaller id is the likelier: a fixed order.
        static func < (a: Candidate, b: Candidate) -> Bool {
            a.probability != b.probability ? a.probability < b.probability : a.token > b.token
        }
    }

    private func likeliest(_ count: Int) -> [Candidate] {
        guard count > 0 else { return [] }
        var heap = Heap<Candidate>()
        for (index, probability) in p.elements.enumerated() {
            let candidate = Candidate(token: Int32(index), probability: probability)
            if heap.count < count {
                heap.insert(candidate)
            } else if let least = heap.min, least < candidate {
                heap.replaceMin(with: candidate)
            }
        }
        return heap.unordered.sorted(by: >)
    }

    private func above(_ floor: Float) -> [Candidate] {
        p.elements.enumerated().lazy.filter { $1 >= floor }
            .map { Candidate(token: Int32($0), probability: $1) }.sorted(by: >)
    }

    /// The token in which `uniform` of the mass is reached.
    private static func pick(
        _ tokens: some Sequence<(Int32, Float)>, _ uniform: Double, of mass: Double
    ) -> Int32 {
        var rest = uniform * mass
        var last: Int32 = 0
        for (token, probability) in tokens where probability > 0 {
            last = token
            rest -= Double(probability)
            if rest < 0 { break }
        }
        return last
    }
}

extension UnsafeMutableBufferPointer<Float> {
    /// The largest logit's token, the first of equals.
    var likeliestToken: Int32 { UnsafeBufferPointer(self).likeliestToken }
}

extension UnsafeBufferPointer<Float> {
    /// The largest logit's token, the first of equals.
    var likeliestToken: Int32 {
        var best = 0
        for index in 1..<Swift.max(count, 1) where self[index] > self[best] { best = index }
        return Int32(best)
    }
}
