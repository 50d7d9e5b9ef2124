public import LorikeetRuntime

/// What an engine tells of a request, in this order: started, the prompt, tokens, then finished or failed.
public enum EngineEvent: Sendable {
    /// The prompt begins to run; so many of its tokens were cached already.
    case started(cachedTokens: Int)
    /// What the model makes of the prompt, where that was asked for: its first token, and the others with what
    /// is reported of them.
    case prompt(first: Int32, rest: [Sampler.Choice])
    /// A token was chosen.
    ///
    /// The text is what became certain with it: none while it may be part of a character or of a stop string,
    /// and then that of several tokens. An end token comes too, without text.
    case token(Sampler.Choice, text: String)
    /// The answer is complete.
    case finished(EngineResult)
    /// The engine cannot go on with it.
    case failed(LorikeetError)
}

/// How an answer ended.
public struct EngineResult: Sendable {
    /// Why it ended.
    public var finishReason: Generation.FinishReason
    /// Text that was held back until the end.
    public var text: String
    /// Tokens of the prompt.
    public var promptTokens: Int
    /// Of the prompt's tokens, those whose keys and values were cached already.
    public var cachedTokens: Int
    /// Tokens chosen, an end token included.
    public var completionTokens: Int
    /// Seconds between the request's arrival and its prompt's start.
    public var queueSeconds: Double
    /// Seconds from the prompt's start to the first token.
    public var prefillSeconds: Double
    /// Seconds for the tokens after the first.
    public var decodeSeconds: Double
}
