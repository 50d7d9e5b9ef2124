import LorikeetQuant

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How well a model predicts a text: exp of the mean negative log probability of its tokens.
///
/// The text is cut into windows of `context` tokens without overlap; within each, every token but the
/// first is scored given those before it; a partial last window is dropped.
public struct Perplexity: Sendable {
    /// The perplexity: exp of the mean negative log probability.
    public let perplexity: Double
    /// Tokens scored.
    public let tokens: Int
    /// Windows scored.
    public let windows: Int

    /// Scores `tokens`.
    ///
    /// - Parameters:
    ///   - tokens: the whole text.
    ///   - model: the model.
    ///   - adapter: its adapter, if any.
    ///   - context: the window's length, at least 2.
    ///   - progress: gets the windows done, their number and the perplexity so far; returns whether to go on.
    /// - Throws: `.invalidArgument` when the text is shorter than one window.
    public init(
        of tokens: [Int32], model: LanguageModel, adapter: (any LowRankDeltas)? = nil, context: Int,
        progress: (_ done: Int, _ total: Int, _ perplexity: Double) -> Bool = { _, _, _ in true }
    ) throws {
        let parts = try Self.windows(of: tokens, context: context)
        let total = parts.count
        let pass = InferencePass(
            model: model.model, compute: model.compute, chunk: min(context, 512))
        let packed = pass.pack(adapter)
        let cache = pass.makeCache(capacity: context)
        var sum = 0.0
        var windows = 0
        while windows < total {
            cache.truncate(to: 0)
            let scores = try pass.logProbabilities(
                of: parts[windows], cache: cache, adapter: packed)
            sum -= scores.reduce(0) { $0 + Double($1) }
            windows += 1
            let mean = sum / Double(windows * (context - 1))
            guard progress(windows, total, exp(mean)) else { break }
        }
        self.windows = windows
        self.tokens = windows * (context - 1)
        perplexity = exp(sum / Double(self.tokens))
    }

    /// A text's windows of `context` tokens, without a partial last one.
    ///
    /// - Throws: `.invalidArgument` when the text is shorter than one.
    public static func windows(of tokens: [Int32], context: Int) throws -> [[Int32]] {
        precondition(context >= 2, "a window of \(context) tokens scores nothing")
        guard tokens.count >= context else {
            throw LorikeetError(
                .invalidArgument, "text", "shorter than one window",
                expected: "at least \(context) tokens", got: "\(tokens.count)",
                advice: "Give a longer text or a smaller --context.")
        }
        return stride(from: 0, through: tokens.count - context, by: context).map {
            Array(tokens[$0..<$0 + context])
        }
    }
}
