import LorikeetQuant
public import LorikeetRuntime

/// An encoder with a head and what its outputs mean: for texts, the classes and how sure it is.
public struct SequenceClassifier: Sendable {
    /// The encoder.
    public let encoder: TextEncoder
    /// The low-rank terms, and perhaps the head.
    public let adapter: Adapter?
    /// What is judged.
    public let task: SequenceTask

    /// A classifier over `encoder`, whose head is the checkpoint's or that of the adapter at `path`.
    ///
    /// - Throws: what loading the adapter throws; `.unsupported` where there is no head.
    public init(_ encoder: TextEncoder, adapter path: String?) throws {
        let adapter = try path.map { try Adapters.load($0, over: encoder) }
        guard let task = SequenceTask(adapter, over: encoder) else {
            throw LorikeetError(
                .unsupported, encoder.checkpoint.path, "the model has no classifier",
                advice: "Pass an adapter that was trained with --task: --adapter.")
        }
        (self.encoder, self.adapter, self.task) = (encoder, adapter, task)
    }

    /// Judges each of `texts`, which may be pairs.
    ///
    /// - Throws: as `EncoderPass`.
    public func callAsFunction(
        _ texts: [(String, pair: String?)]
    ) throws -> [SequenceTask.Judgement] {
        try judge(texts.map { encoder.row($0.0, pair: $0.pair) })
    }

    /// Judges each of `rows`.
    func judge(_ rows: [TrainingRow]) throws -> [SequenceTask.Judgement] {
        try encoder.logits(of: rows, adapter: adapter).map { task.judgement(of: $0) }
    }

    /// What measuring it on a table's rows gave.
    public struct Evaluation: Sendable {
        /// The table's path.
        public var path: String
        /// How many rows.
        public var rows: Int
        /// The mean loss.
        public var loss: Double
        /// The metrics.
        public var scores: [MetricValue]
        /// How long it took.
        public var seconds: Double
        /// The outputs of each row.
        public var outputs: [[Float]]
    }

    /// Measures it on the rows of the table at `path`.
    ///
    /// - Throws: what reading the table throws.
    public func evaluate(
        _ path: String, columns: SequenceRows.Columns, maximumLength: Int
    ) throws -> Evaluation {
        let table = try SequenceRows(
            path, columns: columns, kind: task.kind, labels: task.labels, encoder: encoder,
            maximumLength: min(maximumLength, encoder.model.configuration.maximumPositions))
        let clock = ContinuousClock()
        let start = clock.now
        let pass = EncoderPass(
            model: encoder.model, compute: encoder.compute,
            maximumTokens: max(table.longestRow, TextEncoder.passTokens))
        var (loss, outputs): (Double, [[Float]]) = (0, [])
        try TextEncoder.inParts(table.rows, tokens: pass.maximumTokens) { part in
            let (sum, values) = try pass.evaluateOutputs(
                Array(part), adapter: adapter ?? NoDeltas())
            loss += sum
            outputs += values
        }
        return Evaluation(
            path: path, rows: table.count, loss: loss / Double(table.count),
            scores: task.scores(outputs: outputs, targets: table.rows.compactMap(\.target)),
            seconds: (clock.now - start) / .seconds(1), outputs: outputs)
    }
}
