public import LorikeetRuntime

/// Measures how well a model, with an adapter or without, does tasks.
///
/// ```swift
/// let evaluation = Evaluation(model)
/// let task = try EvaluationTask(jsonl: "boolq.jsonl", name: "boolq", model: model)
/// let results = try evaluation.run([task], adapter: adapter)
/// print(results[0].accuracy ?? 0)
/// ```
public struct Evaluation {
    /// How tasks are read and run.
    public struct Options: Sendable {
        /// How rows are judged; nil for what a task's first row is fit for.
        public var measure: EvaluationMeasure?
        /// How instructions are put; nil for what training does: as chats where there is a template.
        public var prompt: PromptStyle?
        /// The longest generated answer, in tokens; an exact match may take as many as are expected.
        public var maximumTokens = 32
        /// Rows of each task; nil for all.
        public var limit: Int?
        /// Rows at a time.
        public var batchSize = 16

        /// The defaults.
        public init() {}
    }

    /// How far a run is.
    public struct Progress: Sendable {
        /// Rows done, of all tasks.
        public let done: Int
        /// Rows of all tasks.
        public let total: Int
        /// The task at hand.
        public let task: String
        /// Its rows so far.
        public let taskRows: Int
        /// Those of them with the right answer; nil for a perplexity.
        public let correct: Int?
    }

    private let model: LanguageModel
    private let batchSize: Int

    /// An evaluation of `model`.
    public init(_ model: LanguageModel, options: Options = Options()) {
        precondition(options.batchSize > 0, "batches of \(options.batchSize) rows")
        self.model = model
        batchSize = options.batchSize
    }

    /// Runs `tasks`, one after the other.
    ///
    /// - Parameters:
    ///   - tasks: what to do, read for the same model.
    ///   - adapter: the adapter to measure, whose factors do not change meanwhile; nil for the base.
    ///   - progress: called after each row; returns whether to go on.
    /// - Returns: a result for each task begun; the last one may lack rows where `progress` said stop.
    /// - Throws: what a pass throws.
    public func run(
        _ tasks: [EvaluationTask], adapter: (any LowRankDeltas)? = nil,
        progress: (Progress) -> Bool = { _ in true }
    ) throws -> [EvaluationResult] {
        let total = tasks.reduce(0) { $0 + $1.count }
        let clock = ContinuousClock()
        var results: [EvaluationResult] = []
        var done = 0
        var goesOn = true
        for task in tasks where goesOn {
            var rows: [EvaluatedRow] = []
            var correct = 0
            let duration = try clock.measure {
                try evaluate(task, adapter) { row in
                    rows.append(row)
                    done += 1
                    correct += row.isCorrect == true ? 1 : 0
                    goesOn = progress(
                        Progress(
                            done: done, total: total, task: task.name, taskRows: rows.count,
                            correct: row.isCorrect == nil ? nil : correct))
                    return goesOn
                }
            }
            results.append(
                EvaluationResult(task: task, rows: rows, seconds: duration / .seconds(1)))
        }
        return results
    }

    private func evaluate(
        _ task: EvaluationTask, _ adapter: (any LowRankDeltas)?, each: (EvaluatedRow) -> Bool
    ) throws {
        switch task.questions {
        case .generated(let questions): try generate(questions, adapter, each: each)
        case .ranked(let questions): try rank(questions, adapter, each: each)
        case .predicted(let rows): try predict(rows, adapter, each: each)
        }
    }

    private func generate(
        _ questions: [EvaluationTask.GeneratedQuestion], _ adapter: (any LowRankDeltas)?,
        each: (EvaluatedRow) -> Bool
    ) throws {
        try BatchGenerator(model, sequences: min(batchSize, questions.count)).generate(
            questions.map(\.request), adapter: adapter,
            isComplete: { questions[$0].search?.isDecided(in: $1) ?? false }
        ) { index, text in
            let question = questions[index]
            let outcome: EvaluatedRow.Outcome =
                if let search = question.search {
                    .generated(
                        text: text, prediction: search.first(in: text), answer: question.answer)
                } else {
                    .matched(text: text, expected: question.answer)
                }
            return each(EvaluatedRow(line: question.line, outcome: outcome))
        }
    }

    private func rank(
        _ questions: [EvaluationTask.RankedQuestion], _ adapter: (any LowRankDeltas)?,
        each: (EvaluatedRow) -> Bool
    ) throws {
        let scorer = LikelihoodScorer(
            model, adapter: adapter, sequences: min(batchSize, questions.count))
        try inBatches(questions) { batch in
            let scores = try scorer.logLikelihoods(of: batch.map(\.question))
            return zip(batch, scores).allSatisfy { question, scores in
                each(
                    EvaluatedRow(
                        line: question.line,
                        outcome: .ranked(
                            choices: question.choices, logLikelihoods: scores,
                            answer: question.answer)))
            }
        }
    }

    private func predict(
        _ rows: [EvaluationTask.PredictedRow], _ adapter: (any LowRankDeltas)?,
        each: (EvaluatedRow) -> Bool
    ) throws {
        let scorer = LikelihoodScorer(
            model, adapter: adapter, sequences: min(batchSize, rows.count))
        try inBatches(rows) { batch in
            let scores = try scorer.logLikelihoods(of: batch.map(\.row))
            return zip(batch, scores).allSatisfy { row, score in
                each(
                    EvaluatedRow(
                        line: row.line,
                        outcome: .predicted(logLikelihood: score, tokens: row.row.targetCount)))
            }
        }
    }

    private func inBatches<Row>(_ rows: [Row], _ body: ([Row]) throws -> Bool) throws {
        for begin in stride(from: 0, to: rows.count, by: batchSize) {
            guard try body(Array(rows[begin..<min(begin + batchSize, rows.count)])) else { return }
        }
    }
}
