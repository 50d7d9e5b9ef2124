public import LorikeetRuntime

/// What a comparison asks of every trained adapter: a loss on other rows, the accuracy at a task.
public protocol AdapterScore {
    /// What the report calls it.
    var name: String { get }
    /// What it is measured on: scores of an earlier run are taken where it is the same.
    var identity: String { get }

    /// The score of `model` with `adapter`.
    func callAsFunction(_ adapter: any LowRankDeltas, over model: LanguageModel) throws -> Double
}

/// The mean loss over the targets of the rows that are held out.
struct ValidationLoss: AdapterScore {
    let name = "validation loss"
    let identity: String
    let rows: any TrainingRows
    let batchSize: Int

    func callAsFunction(
        _ adapter: any LowRankDeltas, over model: LanguageModel
    ) throws -> Double {
        let pass = TrainingPass(
            model: model.model, compute: model.compute,
            maximumTokens: batchSize * rows.longestRow, recomputesBlocks: true)
        var (sum, targets) = (0.0, 0)
        for start in stride(from: 0, to: rows.count, by: batchSize) {
            let batch = try (start..<min(start + batchSize, rows.count)).map {
                try rows.row(at: $0)
            }
            let (loss, count) = try pass.evaluate(batch, adapter: adapter)
            sum += loss
            targets += count
        }
        return sum / Double(targets)
    }
}

/// The accuracy at a task, or the perplexity of one that has none.
public struct TaskScore: AdapterScore {
    /// The task's name.
    public let name: String
    /// The file's digest and how its rows are put and judged.
    public let identity: String
    private let task: EvaluationTask
    private let batchSize: Int

    /// A score by `task`, `batchSize` rows at a time.
    ///
    /// - Parameters:
    ///   - task: the task, read for the comparison's model.
    ///   - identity: what distinguishes it from others of its name.
    ///   - batchSize: rows at a time.
    public init(_ task: EvaluationTask, identity: String, batchSize: Int = 16) {
        name = task.name
        self.identity = identity
        self.task = task
        self.batchSize = batchSize
    }

    /// The score of `model` with `adapter`.
    public func callAsFunction(
        _ adapter: any LowRankDeltas, over model: LanguageModel
    ) throws -> Double {
        var options = Evaluation.Options()
        options.batchSize = batchSize
        let result = try Evaluation(model, options: options).run([task], adapter: adapter)[0]
        return result.accuracy ?? result.perplexity ?? .nan
    }
}
