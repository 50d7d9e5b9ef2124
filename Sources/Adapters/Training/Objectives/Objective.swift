public import LorikeetRuntime

/// What a run minimizes: the mean of a batch's terms.
public protocol Objective: Sendable {
    /// How many terms a batch has, what the mean is over, by its examples and their targets.
    func termCount(examples: Int, targets: Int) -> Int

    /// Adds the gradients of Σ terms / `count` to the adapter's.
    ///
    /// - Parameters:
    ///   - rows: whole examples, a part of a batch.
    ///   - adapter: what is trained.
    ///   - model: the base.
    ///   - count: the terms of the whole batch.
    /// - Returns: the sum of these rows' terms.
    /// - Throws: what `model` throws.
    func accumulate(
        _ rows: [TrainingRow], adapter: TrainableAdapter, on model: some LossAndGradients,
        count: Int
    ) throws -> ObjectiveSum
}

/// What the rows of a pass add up to.
public struct ObjectiveSum: Sendable, Equatable {
    /// Of the terms.
    public var loss = 0.0
    /// How many terms there were.
    public var terms = 0
    /// How many examples they are of.
    public var examples = 0
    /// Of preferences, where pairs are compared.
    public var preferences: PreferenceReport?

    /// Nothing.
    public init() {}

    /// Adds what further rows came to.
    static func += (sum: inout ObjectiveSum, other: ObjectiveSum) {
        sum.loss += other.loss
        sum.terms += other.terms
        sum.examples += other.examples
        if let preferences = other.preferences {
            sum.preferences = (sum.preferences ?? PreferenceReport()) + preferences
        }
    }
}

/// The objectives, by the names that commands use.
public enum ObjectiveName: String, CaseIterable, Sendable {
    /// The rows' own tokens; the default.
    case likelihood = "sft"
    /// Preferences, Rafailov et al. 2023.
    case directPreference = "dpo"
}

extension TrainingOptions {
    /// The objective that the options describe.
    func makeObjective() -> any Objective {
        switch objective {
        case .likelihood: Likelihood()
        case .directPreference:
            DirectPreference(beta: beta, labelSmoothing: regularization.labelSmoothing)
        }
    }

    /// What a pass does for this objective: DPO smooths its own labels, which are no tokens.
    var passRegularization: Regularization {
        var regularization = regularization
        regularization.seed = seed
        if objective == .directPreference { regularization.labelSmoothing = 0 }
        return regularization
    }
}
