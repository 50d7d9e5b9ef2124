public import LorikeetRuntime

/// What a comparison asks of every trained adapter: a loss on other rows, the accuracy at a task.
public protocol AdapterScore {
    /// What the report calls it.
    var name: String { get }
    /// What it is measured on, as a digest: scores of an earlier run are taken where it is the same.
    var identity: String { get }

    /// The score of `model` with `adapter`.
    func callAsFunction(_ adapter: any LowRankDeltas, over model: LanguageModel) throws -> Double
}

/// The mean loss over the targets of rows that are not trained on.
public struct ValidationLoss: AdapterScore {
    /// “validation loss”.
    public let name: String
    /// The file's digest, and the length at which rows are cut.
    public let identity: String
    private let rows: [TrainingRow]
    private let batchSize: Int
    private let longest: Int

    /// Reads the rows of a JSONL file.
    ///
    /// - Parameters:
    ///   - path: the file, as `TrainingData` reads it.
    ///   - model: whose tokenizer and template make tokens of it.
    ///   - maximumLength: longer rows are cut.
    ///   - batchSize: rows in one pass through the model.
    /// - Throws: what `TrainingData` throws.
    public init(
        jsonl path: String, for model: LanguageModel, maximumLength: Int, batchSize: Int
    ) throws {
        let length = min(maximumLength, model.model.configuration.maximumPositions)
        rows = try TrainingData(
            jsonl: path, tokenizer: model.tokenizer, chatTemplate: model.chatTemplate,
            maximumLength: length
        ).rows
        name = "validation loss"
        identity = "\(Digest.sha256(of: try MappedFile(path: path))) \(length)"
        self.batchSize = batchSize
        longest = rows.map(\.inputIDs.count).max() ?? 0
    }

    /// The mean loss with `adapter`.
    public func callAsFunction(
        _ adapter: any LowRankDeltas, over model: LanguageModel
    ) throws -> Double {
        let pass = TrainingPass(
            model: model.model, compute: model.compute, maximumTokens: batchSize * longest,
            recomputesBlocks: true)
        var (sum, targets) = (0.0, 0)
        for start in stride(from: 0, to: rows.count, by: batchSize) {
            let batch = Array(rows[start..<min(start + batchSize, rows.count)])
            let (loss, count) = try pass.evaluate(batch, adapter: adapter)
            sum += loss
            targets += count
        }
        return sum / Double(targets)
    }
}
