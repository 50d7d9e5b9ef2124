/// How the next token is chosen from a model's logits.
///
/// The steps run in transformers' order: logit bias, repetition penalty, presence and frequency penalty,
/// temperature, top-k, top-p, min-p. Each later step sees what the earlier ones left.
public struct SamplingParameters: Sendable, Equatable {
    /// Divides the logits; 0 takes the likeliest token and ignores the steps that follow.
    public var temperature: Float = 0
    /// Keeps the k likeliest tokens; 0 keeps all.
    public var topK = 0
    /// Keeps the fewest likeliest tokens whose probability reaches this; 1 keeps all.
    public var topP: Float = 1
    /// Keeps tokens at least this share as likely as the likeliest; 0 keeps all.
    public var minP: Float = 0
    /// Added to the logits of tokens before all else (OpenAI's definition); −100 all but forbids one.
    ///
    /// Tokens outside the vocabulary count for nothing.
    public var logitBias: [Int32: Float] = [:]
    /// Divides positive and multiplies negative logits of tokens in the prompt or the answer.
    ///
    /// Source: Keskar et al. 2019, "CTRL", section 4.1.
    public var repetitionPenalty: Float = 1
    /// Taken once from the logit of every token in the answer (OpenAI's definition).
    public var presencePenalty: Float = 0
    /// Taken from the logit of a token as often as it is in the answer (OpenAI's definition).
    public var frequencyPenalty: Float = 0
    /// Seed of the choice.
    public var seed: UInt64 = 0
    /// How many of the likeliest tokens to report with each choice; nil reports none.
    public var topLogProbabilities: Int?

    /// Greedy choice.
    public init() {}
}
