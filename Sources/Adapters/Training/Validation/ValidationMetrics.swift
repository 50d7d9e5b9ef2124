public import LorikeetRuntime

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What one evaluation on held-out rows gave: a row of metrics.jsonl.
public struct ValidationMetrics: Sendable, Equatable {
    /// The step after which it was made, from 1.
    public var step: Int
    /// Mean over the targets of all held-out rows.
    public var loss: Double
    /// How many targets these are.
    public var targets: Int
    /// Whether no evaluation before had a lower loss.
    public var isBest: Bool
    /// How long it took.
    public var seconds: Double

    /// The row: step, validation_loss, validation_perplexity, validation_targets, best and
    /// validation_seconds.
    public var json: JSON {
        [
            "step": .int(step), "validation_loss": .double(loss),
            "validation_perplexity": .double(exp(loss)), "validation_targets": .int(targets),
            "best": .bool(isBest), "validation_seconds": .double(seconds),
        ]
    }
}
