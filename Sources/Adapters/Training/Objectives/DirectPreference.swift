public import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Direct preference optimization: of two answers the chosen one is to gain over the rejected one, measured
/// from where the base stands.
///
///     z = β [(log π(c) − log π₀(c)) − (log π(r) − log π₀(r))]
///     loss = −(1 − ε) log σ(z) − ε log σ(−z)
///
/// π₀ is the base with the adapter switched off, ε the share of pairs that may be labelled the wrong way round.
/// The loss depends on the rows through the sums l = −log π alone, so its gradient is theirs, weighted:
///
///     dl(c) = β [(1 − ε) σ(−z) − ε σ(z)] = −dl(r)
///
/// π₀ is computed in each step, one forward pass: kept from an earlier epoch it could differ in the last bit
/// with the rows beside it, and a resumed run would not end with the same bytes.
/// Source: Rafailov et al., "Direct Preference Optimization" (2023), equation 7; ε: Mitchell, "A note on DPO with
/// noisy preferences" (2023).
public struct DirectPreference: Objective {
    /// How strongly the adapter is held to the base: less is freer.
    public let beta: Double
    /// ε.
    public let labelSmoothing: Double
    /// The objective with the given β and ε.
    public init(beta: Double = 0.1, labelSmoothing: Double = 0) {
        self.beta = beta
        self.labelSmoothing = labelSmoothing
    }

    /// The pairs.
    public func termCount(examples: Int, targets: Int) -> Int { examples }

    /// A forward pass of the base, and a pass of the adapter with the rows weighted: of each pair the chosen
    /// answer, then the rejected one.
    public func accumulate(
        _ rows: [TrainingRow], adapter: TrainableAdapter, on model: some LossAndGradients,
        count: Int
    ) throws -> ObjectiveSum {
        precondition(rows.count.isMultiple(of: 2), "\(rows.count) rows are no pairs")
        let reference = try model.losses(of: rows, adapter: NoDeltas())
        var sum = ObjectiveSum()
        var preferences = PreferenceReport()
        try model.accumulate(rows, adapter: adapter) { losses in
            let rewards = zip(reference, losses).map { beta * ($0 - $1) }
            var weights: [Float] = []
            for pair in stride(from: 0, to: rows.count, by: 2) {
                let (chosen, rejected) = (rewards[pair], rewards[pair + 1])
                let z = chosen - rejected
                sum.loss += loss(z)
                preferences.add(chosen: chosen, rejected: rejected)
                let weight = Float(-beta * slope(z) / Double(count))
                weights += [weight, -weight]
            }
            return weights
        }
        sum.preferences = preferences
        sum.terms = rows.count / 2
        return sum
    }

    /// A pair's loss, −(1 − ε) log σ(z) − ε log σ(−z).
    func loss(_ z: Double) -> Double {
        (1 - labelSmoothing) * softplus(-z) + labelSmoothing * softplus(z)
    }

    /// The loss's derivative in z.
    func slope(_ z: Double) -> Double {
        labelSmoothing * sigmoid(z) - (1 - labelSmoothing) * sigmoid(-z)
    }

    /// log(1 + eˣ) = −log σ(−x), without overflow.
    private func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }

    private func sigmoid(_ x: Double) -> Double { exp(-softplus(-x)) }
}

/// How the adapter's preferences stand to those of the data.
public struct PreferenceReport: Sendable, Equatable {
    private var pairs = 0
    private var sums = (chosen: 0.0, rejected: 0.0)
    private var agreeing = 0

    /// The mean of the chosen answers' rewards β (log π − log π₀).
    public var chosenReward: Double { sums.chosen / Double(pairs) }
    /// The mean of the rejected answers' rewards.
    public var rejectedReward: Double { sums.rejected / Double(pairs) }
    /// The mean of chosen less rejected.
    public var margin: Double { chosenReward - rejectedReward }
    /// The share of pairs whose chosen answer has the larger reward.
    public var accuracy: Double { Double(agreeing) / Double(pairs) }

    /// No pairs.
    public init() {}

    /// Adds a pair.
    mutating func add(chosen: Double, rejected: Double) {
        pairs += 1
        sums.chosen += chosen
        sums.rejected += rejected
        agreeing += chosen > rejected ? 1 : 0
    }

    /// The pairs of both.
    static func + (left: PreferenceReport, right: PreferenceReport) -> PreferenceReport {
        var sum = left
        sum.pairs += right.pairs
        sum.sums.chosen += right.sums.chosen
        sum.sums.rejected += right.sums.rejected
        sum.agreeing += right.agreeing
        return sum
    }

    /// Whether both say the same.
    public static func == (left: PreferenceReport, right: PreferenceReport) -> Bool {
        left.pairs == right.pairs && left.sums == right.sums && left.agreeing == right.agreeing
    }

    /// The columns of metrics.jsonl, named as TRL names them.
    var metrics: [(name: String, value: Double)] {
        [
            ("rewards/chosen", chosenReward), ("rewards/rejected", rejectedReward),
            ("rewards/margins", margin), ("rewards/accuracies", accuracy),
        ]
    }
}
