import Foundation
public import LorikeetRuntime

/// What came of one row of a task.
public struct EvaluatedRow: Sendable {
    /// What the model did with it.
    public enum Outcome: Sendable {
        /// Text, and the answer found in it.
        case generated(text: String, prediction: String?, answer: String)
        /// Text that is to equal another.
        case matched(text: String, expected: String)
        /// log p of every choice.
        case ranked(choices: [String], logLikelihoods: [Double], answer: String)
        /// log p of all targets together.
        case predicted(logLikelihood: Double, tokens: Int)
    }

    /// The row's line in its file, from 1.
    public var line: Int
    /// What the model did with it.
    public var outcome: Outcome

    /// What came of the row at `line`.
    public init(line: Int, outcome: Outcome) {
        self.line = line
        self.outcome = outcome
    }

    /// Whether the answer is right; nil where there is no right and wrong.
    public var isCorrect: Bool? {
        switch outcome {
        case .generated(_, let prediction, let answer): prediction == answer
        case .matched(let text, let expected): Self.trimmed(text) == Self.trimmed(expected)
        case .ranked(_, _, let answer): prediction == answer
        case .predicted: nil
        }
    }

    /// Whether the answer is right but for case, punctuation, articles and space, as SQuAD compares; nil
    /// where text is not compared.
    public var isCorrectNormalized: Bool? {
        guard case .matched(let text, let expected) = outcome else { return nil }
        return Self.normalized(text) == Self.normalized(expected)
    }

    /// The answer given.
    public var prediction: String? {
        switch outcome {
        case .generated(_, let prediction, _): return prediction
        case .matched(let text, _): return Self.trimmed(text)
        case .ranked(let choices, let scores, _):
            // The first of equals.
            let best = scores.indices.max {
                scores[$0] != scores[$1] ? scores[$0] < scores[$1] : $0 > $1
            }
            return best.map { choices[$0] }
        case .predicted: return nil
        }
    }

    /// One line of a file of predictions.
    public var json: JSON {
        var json: JSON = ["line": .int(line)]
        switch outcome {
        case .generated(let text, _, let answer):
            json["answer"] = .string(answer)
            json["text"] = .string(text)
        case .matched(let text, let expected):
            json["answer"] = .string(expected)
            json["text"] = .string(text)
        case .ranked(let choices, let scores, let answer):
            json["answer"] = .string(answer)
            json["choices"] = .array(choices.map { .string($0) })
            json["log_likelihoods"] = .array(scores.map { .double($0) })
        case .predicted(let logLikelihood, let tokens):
            json["log_likelihood"] = .double(logLikelihood)
            json["tokens"] = .int(tokens)
        }
        if let isCorrect {
            json["prediction"] = prediction.map { .string($0) } ?? .null
            json["correct"] = .bool(isCorrect)
        }
        if let isCorrectNormalized { json["correct_normalized"] = .bool(isCorrectNormalized) }
        return json
    }

    private static func trimmed(_ text: String) -> String {
        text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// `text` in lower case, without punctuation and the words a, an and the, its words one space apart.
    static func normalized(_ text: String) -> String {
        let letters = text.lowercased().unicodeScalars.filter {
            !CharacterSet.punctuationCharacters.contains($0)
                && !CharacterSet.symbols.contains($0)
        }
        return String(String.UnicodeScalarView(letters)).split(whereSeparator: \.isWhitespace)
            .filter { !["a", "an", "the"].contains($0) }.joined(separator: " ")
    }
}
