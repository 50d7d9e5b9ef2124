import QuantKernels

/// How a query weighs positions: the softmax of q · k · scale, capped if there is a cap, over those that it
/// sees.
package struct AttentionScores: Sendable, Equatable {
    /// What q · k is multiplied by.
    package var scale: Float
    /// c of c tanh(s / c), which scores become (Gemma 2); nil leaves them as they are.
    package var cap: Float?
    /// How many positions a query sees, its own the last (Mistral); nil for all.
    package var window: Int?

    /// Plain attention, unless told otherwise.
    package init(scale: Float, cap: Float? = nil, window: Int? = nil) {
        self.scale = scale
        self.cap = cap
        self.window = window
    }

    /// The first position that the one at `position` sees.
    func first(for position: Int) -> Int {
        window.map { max(0, position + 1 - $0) } ?? 0
    }

    /// As kernels take them.
    var kernel: quant_scores {
        quant_scores(scale: scale, cap: cap ?? 0, window: window ?? .max)
    }
}
