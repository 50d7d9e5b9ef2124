import Foundation
import LorikeetRuntime

/// Turns one object of a task into a question's tokens.
struct EvaluationRowReader {
    private let model: LanguageModel
    private let options: Evaluation.Options
    private let rows: TrainingRowReader

    typealias Line = EvaluationTask.Line

    init(model: LanguageModel, options: Evaluation.Options) {
        self.model = model
        self.options = options
        rows = TrainingRowReader(
            tokenizer: model.tokenizer, chatTemplate: model.chatTemplate, style: options.prompt)
    }

    /// What a row is fit for, in the paper's order: a choice among answers that are named in the prompt is
    /// made by generating.
    static func measure(of line: Line) -> EvaluationMeasure {
        func has(_ keys: String...) -> Bool { keys.allSatisfy { line.members[$0] != nil } }
        if has("choices") { return .likelihood }
        if has("answer") { return .generation }
        return has("prompt", "completion") || has("instruction", "output") ? .exact : .perplexity
    }

    // MARK: Rows

    func choiceByGeneration(_ line: Line) throws -> EvaluationTask.GeneratedQuestion {
        let choice = try choice(line)
        return try generated(
            line, try prompt(line), search: AnswerSearch(choice.searched), answer: choice.answer,
            maximumTokens: options.maximumTokens)
    }

    func exactMatch(_ line: Line) throws -> EvaluationTask.GeneratedQuestion {
        guard let key = ["completion", "output"].first(where: { line.members[$0] != nil }) else {
            throw unfit(line, "neither \"completion\" nor \"output\" says what is expected")
        }
        let expected = try rows.string(line.members, key, line.source)
        let prompt = try prompt(line)
        let (begin, whole) = prompt.tokens(continuedBy: expected, model.tokenizer)
        // One more than expected: an answer that goes on is another one.
        let enough = whole.count - begin.count + 1
        return try generated(
            line, prompt, search: nil, answer: expected,
            maximumTokens: max(enough, options.maximumTokens))
    }

    func choiceByLikelihood(_ line: Line) throws -> EvaluationTask.RankedQuestion {
        let choice = try choice(line)
        let prompt = try prompt(line)
        let frame = try frame(line, around: choice.answer)
        var question = LikelihoodScorer.Question(
            prompt: prompt.tokens(model.tokenizer), continuations: [])
        for text in choice.choices {
            let (begin, whole) = prompt.tokens(
                continuedBy: frame.before + text + frame.after, model.tokenizer)
            let continuation = Array(whole.dropFirst(begin.count))
            try requireRoom(line, prompt: begin.count, answer: continuation.count)
            question.continuations.append(continuation)
        }
        return EvaluationTask.RankedQuestion(
            line: line.number, question: question, choices: choice.choices, answer: choice.answer)
    }

    func prediction(_ line: Line) throws -> EvaluationTask.PredictedRow {
        let row = try rows.row(.object(line.members), source: line.source)
        guard row.targetCount > 0 else {
            throw LorikeetError(.malformed, line.source, "none of the row's tokens is a target")
        }
        try requireRoom(line, prompt: row.inputIDs.count, answer: 0)
        return EvaluationTask.PredictedRow(line: line.number, row: row)
    }

    // MARK: Parts

    private func generated(
        _ line: Line, _ prompt: Prompt, search: AnswerSearch?, answer: String, maximumTokens: Int
    ) throws -> EvaluationTask.GeneratedQuestion {
        let tokens = prompt.tokens(model.tokenizer)
        try requireRoom(line, prompt: tokens.count, answer: maximumTokens)
        return EvaluationTask.GeneratedQuestion(
            line: line.number,
            request: BatchGenerator.Request(prompt: tokens, maximumTokens: maximumTokens),
            search: search, answer: answer)
    }

    private func prompt(_ line: Line) throws -> Prompt {
        let prompt: Prompt
        if line.members["prompt"] != nil {
            prompt = Prompt(
                text: try rows.string(line.members, "prompt", line.source), addsSpecialTokens: true)
        } else if line.members["instruction"] != nil {
            prompt = try rows.prompt(line.members, line.source)
        } else {
            throw unfit(line, "neither \"instruction\" nor \"prompt\" asks anything")
        }
        guard !prompt.tokens(model.tokenizer).isEmpty else {
            throw LorikeetError(.malformed, line.source, "the prompt is empty")
        }
        return prompt
    }

    /// The right answer, the choices, and what is searched for in generated text.
    private func choice(
        _ line: Line
    ) throws -> (answer: String, choices: [String], searched: [String]) {
        guard line.members["answer"] != nil else {
            throw unfit(line, "there is no \"answer\"")
        }
        let answer = try rows.string(line.members, "answer", line.source)
        var (choices, searched): ([String], [String])
        if let list = line.members["choices"] {
            choices = list.array?.compactMap(\.string) ?? []
            guard choices.count == list.array?.count, choices.count > 1, !choices.contains("")
            else {
                throw LorikeetError(
                    .malformed, line.source, "\"choices\" is no list of two or more texts")
            }
            searched = choices
        } else {
            guard let family = AnswerFamily.of(answer) else {
                let known = AnswerFamily.all.map { family in
                    family.members.joined(separator: "/")
                }
                throw LorikeetError(
                    .malformed, line.source, "\"answer\" is none of the known answers",
                    expected: known.joined(separator: ", "), got: "\"\(answer)\"",
                    advice: "List the possible answers as \"choices\".")
            }
            choices = family.members(in: try asked(line))
            // LLM-Adapters searches for every answer of the family.
            searched = family.members
        }
        guard choices.contains(answer) else {
            throw LorikeetError(
                .malformed, line.source, "\"answer\" is not among the choices",
                expected: choices.isEmpty
                    ? "an instruction that names the answers" : choices.joined(separator: ", "),
                got: "\"\(answer)\"")
        }
        guard choices.count > 1 else {
            throw LorikeetError(
                .malformed, line.source, "the instruction names a single answer, \"\(answer)\"")
        }
        return (answer, choices, searched)
    }

    private func asked(_ line: Line) throws -> String {
        let key = line.members["prompt"] != nil ? "prompt" : "instruction"
        guard line.members[key] != nil else {
            throw unfit(line, "neither \"instruction\" nor \"prompt\" asks anything")
        }
        return try rows.string(line.members, key, line.source)
    }

    /// What "output" says around the answer: "the correct answer is ".
    private func frame(
        _ line: Line, around answer: String
    ) throws -> (before: String, after: String) {
        guard line.members["output"] != nil else { return ("", "") }
        let output = try rows.string(line.members, "output", line.source)
        guard let range = output.range(of: answer, options: [.backwards, .literal]) else {
            throw LorikeetError(
                .malformed, line.source, "\"output\" does not contain the answer",
                expected: "\"\(answer)\"", got: "\"\(output)\"")
        }
        return (String(output[..<range.lowerBound]), String(output[range.upperBound...]))
    }

    // MARK: Errors

    private func unfit(_ line: Line, _ problem: String) -> LorikeetError {
        LorikeetError(
            .malformed, line.source, problem,
            got: line.members.isEmpty
                ? "no keys" : "the keys \(line.members.keys.joined(separator: ", "))",
            advice: "Choose another measure for such rows.")
    }

    private func requireRoom(_ line: Line, prompt: Int, answer: Int) throws {
        let positions = model.model.configuration.maximumPositions
        guard prompt + answer > positions else { return }
        throw LorikeetError(
            .malformed, line.source, "longer than the model's context",
            expected: "at most \(positions) tokens",
            got: answer > 0 ? "\(prompt) and \(answer) of the answer" : "\(prompt)",
            advice: "Shorten the row or leave it out.")
    }
}
