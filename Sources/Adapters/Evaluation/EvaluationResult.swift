import Foundation
public import LorikeetRuntime

/// What came of a task.
public struct EvaluationResult: Sendable {
    /// The task's name.
    public let task: String
    /// How its rows were judged.
    public let measure: EvaluationMeasure
    /// The rows that were evaluated, in the order of the file.
    public let rows: [EvaluatedRow]
    /// How long that took.
    public let seconds: Double

    init(task: EvaluationTask, rows: [EvaluatedRow], seconds: Double) {
        self.task = task.name
        measure = task.measure
        self.rows = rows.sorted { $0.line < $1.line }
        self.seconds = seconds
    }

    /// The part of the rows with the right answer; nil without rows, and for a perplexity.
    public var accuracy: Double? { part(\.isCorrect) }

    /// The same for exact matches but for case, punctuation, articles and space.
    public var normalizedAccuracy: Double? { part(\.isCorrectNormalized) }

    /// One standard deviation of the accuracy, were the rows drawn anew: √(a (1 − a) / rows).
    public var standardError: Double? {
        accuracy.map { ($0 * (1 - $0) / Double(rows.count)).squareRoot() }
    }

    /// Tokens predicted, for a perplexity.
    public var tokens: Int { predicted.reduce(0) { $0 + $1.tokens } }

    /// exp of the mean −log p of all targets of all rows; nil for an accuracy.
    public var perplexity: Double? {
        guard tokens > 0 else { return nil }
        return exp(-predicted.reduce(0) { $0 + $1.logLikelihood } / Double(tokens))
    }

    /// The mean of the tasks' accuracies, each task counting the same, as papers report it; nil where
    /// none has one.
    public static func averageAccuracy(_ results: [EvaluationResult]) -> Double? {
        let accuracies = results.compactMap(\.accuracy)
        return accuracies.isEmpty ? nil : accuracies.reduce(0, +) / Double(accuracies.count)
    }

    /// The figures as a JSON object.
    public var json: JSON {
        var json: JSON = [
            "task": .string(task), "measure": .string(measure.rawValue), "rows": .int(rows.count),
        ]
        if let accuracy, let standardError {
            json["correct"] = .int(rows.count { $0.isCorrect == true })
            json["accuracy"] = .double(accuracy)
            json["standard_error"] = .double(standardError)
        }
        if let normalizedAccuracy { json["normalized_accuracy"] = .double(normalizedAccuracy) }
        if let perplexity {
            json["perplexity"] = .double(perplexity)
            json["tokens"] = .int(tokens)
        }
        json["seconds"] = .double(seconds)
        json["rows_per_second"] = .double(seconds > 0 ? Double(rows.count) / seconds : 0)
        return json
    }

    private var predicted: [(logLikelihood: Double, tokens: Int)] {
        rows.compactMap { row in
            guard case .predicted(let logLikelihood, let tokens) = row.outcome else { return nil }
            return (logLikelihood, tokens)
        }
    }

    private func part(_ isRight: (EvaluatedRow) -> Bool?) -> Double? {
        let judged = rows.compactMap(isRight)
        return judged.isEmpty ? nil : Double(judged.count { $0 }) / Double(judged.count)
    }
}
