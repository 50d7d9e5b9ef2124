import Foundation
public import LorikeetQuant
public import LorikeetRuntime

/// What a changed model, a quantized one say, has lost of the one that it was made from, on a text.
///
/// The text is cut and scored as `Perplexity` does; all means are over the scored tokens.
public struct QualityComparison: Sendable {
    /// The model's perplexity.
    public let perplexity: Double
    /// The reference's.
    public let referencePerplexity: Double
    /// The predictions' divergence from the reference's, and the share of the same likeliest tokens.
    public let divergence: Divergence
    /// Tokens scored.
    public let tokens: Int
    /// Windows scored.
    public let windows: Int

    /// The model's perplexity over the reference's, less 1.
    public var loss: Double { perplexity / referencePerplexity - 1 }

    /// Compares `model` with `reference`.
    ///
    /// - Parameters:
    ///   - tokens: the whole text.
    ///   - model: the model.
    ///   - adapter: the model's; nil for none.
    ///   - reference: what it was made from.
    ///   - context: the window's length, at least 2.
    ///   - compute: what to run on.
    ///   - progress: gets the windows done and their number; returns whether to go on.
    /// - Throws: `.invalidArgument` when the text is shorter than one window; `.mismatch` for models of different
    ///   vocabularies.
    public init(
        of tokens: [Int32], model: DecoderModel, adapter: (any LowRankDeltas)? = nil,
        reference: DecoderModel, context: Int, on compute: Compute,
        progress: (_ done: Int, _ total: Int) -> Bool = { _, _ in true }
    ) throws {
        let (own, other) = (
            model.configuration.vocabularySize, reference.configuration.vocabularySize
        )
        guard own == other else {
            throw LorikeetError(
                .mismatch, "--reference", "a model of another vocabulary",
                expected: "\(own) tokens", got: "\(other)")
        }
        let parts = try Perplexity.windows(of: tokens, context: context)
        let (p, q) = (
            Divergence.Predictor(reference, capacity: context, on: compute),
            Divergence.Predictor(model, adapter: adapter, capacity: context, on: compute)
        )
        var (losses, divergence, agreements, windows) = ((p: 0.0, q: 0.0), 0.0, 0, 0)
        for window in parts {
            p.restart()
            q.restart()
            var position = 0
            try Divergence.compare(window, reference: p, others: [q], on: compute) {
                position += 1
                // What follows the window's last token is not there to be predicted.
                guard position < context else { return }
                losses.p += $1.losses.reference
                losses.q += $1.losses.other
                divergence += $1.divergence
                agreements += $1.agrees ? 1 : 0
            }
            windows += 1
            guard progress(windows, parts.count) else { break }
        }
        self.windows = windows
        self.tokens = windows * (context - 1)
        let count = Double(self.tokens)
        perplexity = exp(losses.q / count)
        referencePerplexity = exp(losses.p / count)
        self.divergence = Divergence(
            divergence: divergence / count, agreement: Double(agreements) / count)
    }
}
