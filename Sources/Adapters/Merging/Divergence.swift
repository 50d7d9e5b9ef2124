import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// How far the predictions of one model are from another's on a text.
public struct Divergence: Sendable {
    /// A model with or without an adapter.
    public struct Predictor {
        fileprivate let pass: InferencePass
        fileprivate let adapter: PackedDeltas?
        fileprivate let cache: KVCache

        /// `model` with `adapter`, for texts of at most `capacity` tokens.
        public init(
            _ model: DecoderModel, adapter: (any LowRankDeltas)? = nil, capacity: Int,
            on compute: Compute
        ) {
            pass = InferencePass(model: model, compute: compute, chunk: Divergence.chunk)
            self.adapter = pass.pack(adapter)
            cache = pass.makeCache(capacity: capacity)
        }

        fileprivate func logits(of tokens: [Int32]) throws -> UnsafeBufferPointer<Float> {
            try pass.forward(tokens, cache: cache, adapter: adapter, logits: .all)
        }
    }

    /// The mean of KL(p‖q) = Σ p log (p/q) over the text's positions, in nats: p is the reference.
    public let divergence: Double
    /// The share of positions where both have the same likeliest token.
    public let agreement: Double

    // Tokens at a time: their logits are in memory, for each predictor.
    private static let chunk = 32

    /// Compares the predictions of `others` with those of `reference` after each of `tokens`.
    ///
    /// - Throws: `.invalidArgument` for no tokens, or one outside the vocabulary.
    public static func measure(
        _ tokens: [Int32], reference: Predictor, others: [Predictor], on compute: Compute
    ) throws -> [Divergence] {
        guard !tokens.isEmpty else {
            throw LorikeetError(.invalidArgument, "text", "there is nothing to predict")
        }
        var sums = [(divergence: Double, agreements: Int)](
            repeating: (0, 0), count: others.count)
        for begin in stride(from: 0, to: tokens.count, by: chunk) {
            let part = Array(tokens[begin..<min(begin + chunk, tokens.count)])
            let p = try reference.logits(of: part)
            for (index, other) in others.enumerated() {
                let q = try other.logits(of: part)
                let V = p.count / part.count
                precondition(q.count == p.count, "models of different vocabularies")
                let rows = Buffer<Double>(part.count)
                let agrees = Buffer<UInt8>(part.count)
                compute.pool.split(part.count) { _, first, last in
                    for row in first..<last {
                        let range = row * V..<(row + 1) * V
                        (rows[row], agrees[row]) = compare(
                            UnsafeBufferPointer(rebasing: p[range]),
                            UnsafeBufferPointer(rebasing: q[range]))
                    }
                }
                sums[index].divergence += rows.elements.reduce(0, +)
                sums[index].agreements += agrees.elements.reduce(0) { $0 + Int($1) }
            }
        }
        let count = Double(tokens.count)
        return sums.map {
            Divergence(divergence: $0.divergence / count, agreement: Double($0.agreements) / count)
        }
    }

    /// KL of two rows of logits, and 1 where their largest are in one place.
    private static func compare(
        _ p: UnsafeBufferPointer<Float>, _ q: UnsafeBufferPointer<Float>
    ) -> (Double, UInt8) {
        let (pTop, qTop) = (largest(p), largest(q))
        let (pLog, qLog) = (logSum(p, less: p[pTop]), logSum(q, less: q[qTop]))
        var sum = 0.0
        for i in p.indices {
            let log = Double(p[i] - p[pTop]) - pLog
            sum += exp(log) * (log - (Double(q[i] - q[qTop]) - qLog))
        }
        return (sum, pTop == qTop ? 1 : 0)
    }

    private static func largest(_ logits: UnsafeBufferPointer<Float>) -> Int {
        var best = 0
        for i in logits.indices where logits[i] > logits[best] { best = i }
        return best
    }

    /// log Σ exp(x - largest).
    private static func logSum(
        _ logits: UnsafeBufferPointer<Float>, less largest: Float
    ) -> Double {
        log(logits.reduce(0.0) { $0 + exp(Double($1 - largest)) })
    }
}
