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
    /// Values of the task's metrics, where there is a task.
    public var scores: [MetricValue] = []
    /// Whether no evaluation before was as good: by the metric that decides, or by the loss.
    public var isBest: Bool
    /// How long it took.
    public var seconds: Double

    /// The row: step, validation_loss, validation_targets, best and validation_seconds; for tokens
    /// validation_perplexity, for a task validation_accuracy and the like.
    public var json: JSON {
        var row: JSON = [
            "step": .int(step), "validation_loss": .double(loss),
            "validation_targets": .int(targets), "best": .bool(isBest),
            "validation_seconds": .double(seconds),
        ]
        if scores.isEmpty { row["validation_perplexity"] = .double(exp(loss)) }
        for score in scores where score.value.isFinite {
            row["validation_\(score.metric.rawValue)"] = .double(score.value)
        }
        return row
    }
}
