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

        /// Forgets what came before.
        package func restart() { cache.truncate(to: 0) }

        fileprivate func logits(of tokens: [Int32]) throws -> UnsafeBufferPointer<Float> {
            try pass.forward(tokens, cache: cache, adapter: adapter, logits: .all)
        }
    }

    /// Two models' predictions after one token.
    package struct Position: BitwiseCopyable {
        /// KL(p‖q), in nats.
        package var divergence = 0.0
        /// Whether both have the same likeliest token.
        package var agrees = false
        /// −log p and −log q of the token that follows; 0 behind the last.
        package var losses = (reference: 0.0, other: 0.0)
    }

    /// The mean of KL(p‖q) = Σ p log (p/q) over the text's positions, in nats: p is the reference.
    public let divergence: Double
    /// The share of positions where both have the same likeliest token.
    public let agreement: Double

    // Tokens at a time: their logits are in memory, for each predictor.
    private static let chunk = 64

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
        try compare(tokens, reference: reference, others: others, on: compute) { other, position in
            sums[other].divergence += position.divergence
            sums[other].agreements += position.agrees ? 1 : 0
        }
        let count = Double(tokens.count)
        return sums.map {
            Divergence(divergence: $0.divergence / count, agreement: Double($0.agreements) / count)
        }
    }

    /// Compares the predictions of `others` with those of `reference` after each of `tokens`.
    ///
    /// - body: gets each position of each of the others, in the order of the text.
    /// - Throws: as `measure`.
    package static func compare(
        _ tokens: [Int32], reference: Predictor, others: [Predictor], on compute: Compute,
        body: (_ other: Int, _ position: Position) -> Void
    ) throws {
        for begin in stride(from: 0, to: tokens.count, by: chunk) {
            let part = Array(tokens[begin..<min(begin + chunk, tokens.count)])
            let p = try reference.logits(of: part)
            for (index, other) in others.enumerated() {
                let q = try other.logits(of: part)
                let V = p.count / part.count
                precondition(q.count == p.count, "models of different vocabularies")
                let rows = Buffer<Position>(uninitialized: part.count)
                compute.pool.split(part.count) { _, first, last in
                    for row in first..<last {
                        let range = row * V..<(row + 1) * V
                        let next = begin + row + 1
                        rows[row] = position(
                            UnsafeBufferPointer(rebasing: p[range]),
                            UnsafeBufferPointer(rebasing: q[range]),
                            next: next < tokens.count ? Int(tokens[next]) : nil)
                    }
                }
                for row in 0..<part.count { body(index, rows[row]) }
            }
        }
    }

    /// Compares two rows of logits.
    private static func position(
        _ p: UnsafeBufferPointer<Float>, _ q: UnsafeBufferPointer<Float>, next: Int?
    ) -> Position {
        let (pTop, qTop) = (largest(p), largest(q))
        let (pLog, qLog) = (logSum(p, less: p[pTop]), logSum(q, less: q[qTop]))
        var position = Position(agrees: pTop == qTop)
        for i in p.indices {
            let log = Double(p[i] - p[pTop]) - pLog
            position.divergence += exp(log) * (log - (Double(q[i] - q[qTop]) - qLog))
        }
        if let next {
            position.losses = (
                pLog - Double(p[next] - p[pTop]), qLog - Double(q[next] - q[qTop])
            )
        }
        return position
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
