public import LorikeetRuntime

/// What one optimizer step was like: a row of metrics.jsonl.
public struct StepMetrics: Sendable, Equatable {
    /// From 1.
    public var step: Int
    /// Steps of the whole run.
    public var totalSteps: Int
    /// Mean over the batch's terms (targets, or pairs), before the step.
    public var loss: Double
    /// A's.
    public var learningRate: Double
    /// Of the raw gradients: before clipping and preconditioning.
    public var gradientNorm: Double
    /// Tokens of the batch, targets or not.
    public var tokens: Int
    /// Of this step.
    public var tokensPerSecond: Double
    /// Since the run began.
    public var seconds: Double
    /// What RefLoRA did, in the steps where it does something.
    public var refactoring: RefactoringReport?
    /// What the method took of the step beside the optimizer, in seconds.
    public var refactoringSeconds: Double
    /// What the run was measured at after this step, where it was; a row of its own.
    public var validation: ValidationMetrics?
    /// How the pairs of the batch stand, before the step, where pairs are compared.
    public var preferences: PreferenceReport?

    /// The row: step, loss, learning_rate, gradient_norm, tokens, tokens_per_second, seconds, and with
    /// RefLoRA condition_number, refactorings_skipped, refactorings_failed and refactoring_seconds, with DPO
    /// rewards/chosen, rewards/rejected, rewards/margins and rewards/accuracies.
    public var json: JSON {
        var row: JSON = [
            "step": .int(step), "loss": .double(loss), "learning_rate": .double(learningRate),
            "gradient_norm": .double(gradientNorm), "tokens": .int(tokens),
            "tokens_per_second": .double(tokensPerSecond), "seconds": .double(seconds),
        ]
        if let refactoring {
            if let condition = refactoring.conditionNumber {
                row["condition_number"] = .double(condition)
            }
            row["refactorings_skipped"] = .int(refactoring.skipped)
            row["refactorings_failed"] = .int(refactoring.failed)
            row["refactoring_seconds"] = .double(refactoringSeconds)
        }
        for (name, value) in preferences?.metrics ?? [] { row[name] = .double(value) }
        return row
    }
}
