/// How a task's rows are judged.
public enum EvaluationMeasure: String, Sendable, CaseIterable {
    /// The first of the possible answers that occurs in the generated text is the right one.
    case generation
    /// The right answer is the likeliest of the choices.
    case likelihood
    /// The generated text is the expected one.
    case exact
    /// How well the rows' targets are predicted.
    case perplexity
}
