/// What tokens an answer may go on with: decides before each token is sampled, and follows the choice.
///
/// An instance belongs to one sequence and is used from one thread at a time.
///
/// ```swift
/// let mask = TokenMask(count: vocabularySize)
/// constraint.writeAllowedTokens(to: mask)
/// let choice = sampler.next(logits, allowed: mask)
/// constraint.accept(choice.token)
/// ```
public protocol TokenConstraint: AnyObject {
    /// Whether the text so far is whole: end tokens are allowed now.
    var isComplete: Bool { get }
    /// Writes which tokens may come next; never none.
    func writeAllowedTokens(to mask: TokenMask)
    /// Goes on with a token that was allowed; another one traps.
    func accept(_ token: Int32)
}
