import Foundation
public import LorikeetRuntime

/// The rows of a JSONL file as questions to a model, read, checked and tokenized.
///
/// Each line is an object of one of these shapes; blank lines are passed over:
///
///     {"instruction": "…", "input": "…", "output": "…", "answer": "…"}   LLM-Adapters' choice among answers
///     {"prompt": "…", "choices": ["…", …], "answer": "…"}                choice among those listed
///     {"prompt": "…", "completion": "…"}                                 exact match
///     {"instruction": "…", "input": "…", "output": "…"}                  exact match
///     {"text": "…"}, {"messages": […]}, {"input_ids": […]}               perplexity
///
/// With a measure that is named, every row must be fit for it; perplexity takes every shape that training
/// takes.
public struct EvaluationTask: Sendable {
    /// What reports call it.
    public let name: String
    /// How its rows are judged.
    public let measure: EvaluationMeasure
    let questions: Questions

    enum Questions: Sendable {
        case generated([GeneratedQuestion])
        case ranked([RankedQuestion])
        case predicted([PredictedRow])
    }

    /// A question that is answered by generating text.
    struct GeneratedQuestion: Sendable {
        let line: Int
        let request: BatchGenerator.Request
        /// Finds the answer in the text; nil where the text itself is the answer.
        let search: AnswerSearch?
        let answer: String
    }

    /// A question that is answered by the likeliest of its choices.
    struct RankedQuestion: Sendable {
        let line: Int
        let question: LikelihoodScorer.Question
        let choices: [String]
        let answer: String
    }

    /// A row whose targets are predicted.
    struct PredictedRow: Sendable {
        let line: Int
        let row: TrainingRow
    }

    /// How many rows there are.
    public var count: Int {
        switch questions {
        case .generated(let questions): questions.count
        case .ranked(let questions): questions.count
        case .predicted(let rows): rows.count
        }
    }

    /// Reads the file at `path` for `model`.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - name: what to call the task.
    ///   - model: the model to be asked.
    ///   - options: the measure (by default what the first row is fit for), the prompt, the limits.
    /// - Throws: `.malformed` naming the line: text that is no JSON, a row that the measure cannot use, an
    ///   answer that is not among the choices, more tokens than the model has positions; and for a file
    ///   without rows. `.unsupported` for a file that is compressed.
    public init(
        jsonl path: String, name: String, model: LanguageModel,
        options: Evaluation.Options = Evaluation.Options()
    ) throws {
        let lines = try Self.lines(path, limit: options.limit)
        let reader = EvaluationRowReader(model: model, options: options)
        self.name = name
        measure = options.measure ?? EvaluationRowReader.measure(of: lines[0])
        questions =
            switch measure {
            case .generation: .generated(try lines.map(reader.choiceByGeneration))
            case .exact: .generated(try lines.map(reader.exactMatch))
            case .likelihood: .ranked(try lines.map(reader.choiceByLikelihood))
            case .perplexity: .predicted(try lines.map(reader.prediction))
            }
    }

    /// Short names for the files at `paths`: what is not the same in all, without `.jsonl`.
    public static func names(_ paths: [String]) -> [String] {
        let parts = paths.map { $0.split(separator: "/").map(String.init) }
        let shortest = parts.map(\.count).min() ?? 0
        // The file's own name stays in any case.
        let common = (0..<max(shortest - 1, 0)).prefix { i in
            parts.allSatisfy { $0[i] == parts[0][i] }
        }.count
        return parts.map { parts in
            let name = parts.dropFirst(common).joined(separator: "/")
            return name.hasSuffix(".jsonl") ? String(name.dropLast(6)) : name
        }
    }

    /// One object of a file.
    struct Line {
        let number: Int
        let members: JSON.Object
        /// File and line, for errors.
        let source: String
    }

    private static func lines(_ path: String, limit: Int?) throws -> [Line] {
        let file = try DataFile(path: path)
        guard try file.bytes(at: 0, count: 2) != [0x1F, 0x8B] else {
            throw LorikeetError(
                .unsupported, path, "the file is compressed",
                advice: "Unpack it: gunzip -k \(path)")
        }
        var lines: [Line] = []
        _ = try file.forEachPart { part in
            for line in part where lines.count < limit ?? .max {
                let source = "\(path), line \(line.number)"
                guard case .object(let members) = try JSON(parsing: line.bytes, source: source)
                else {
                    throw LorikeetError(
                        .malformed, source, "a row is a JSON object, this is another value")
                }
                lines.append(Line(number: line.number, members: members, source: source))
            }
        }
        guard !lines.isEmpty else {
            throw LorikeetError(.malformed, path, "the task has no rows")
        }
        return lines
    }
}
