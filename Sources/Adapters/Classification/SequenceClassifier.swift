import Foundation
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

    /// What a text was judged as.
    public struct Judgement: Sendable, Equatable {
        /// The likeliest class; nil for a number.
        public var label: String?
        /// The probability of each class in the order of the task's labels; the number itself for a number.
        public var scores: [Double]
    }

    /// A classifier over `encoder`, whose head is the checkpoint's or that of the adapter at `path`.
    ///
    /// - Throws: what loading the adapter throws; `.unsupported` where there is no head.
    public init(_ encoder: TextEncoder, adapter path: String?) throws {
        self.encoder = encoder
        let adapter = try path.map { try Adapters.load($0, over: encoder) }
        self.adapter = adapter
        let brought = adapter?.tensor("classifier.bias")
        guard let outputs = (brought ?? encoder.model.headTensors["classifier.bias"])?.count else {
            throw LorikeetError(
                .unsupported, encoder.checkpoint.path, "the model has no classifier",
                advice: "Pass an adapter that was trained with --task: --adapter.")
        }
        let stated = try path.flatMap { try SequenceTask(ofAdapter: $0, adapter) }
        let judged = stated ?? SequenceTask(encoder.model.configuration)
        // An adapter of PEFT's says nothing of labels: numbers, as transformers has them.
        task =
            judged.labels.count == outputs
            ? judged
            : SequenceTask(
                kind: outputs == 1 ? .regression : .classification,
                labels: (0..<outputs).map { "LABEL_\($0)" })
    }

    /// Judges each of `texts`, which may be pairs.
    ///
    /// - Throws: as `EncoderPass`.
    public func callAsFunction(_ texts: [(String, pair: String?)]) throws -> [Judgement] {
        try judge(texts.map { encoder.row($0.0, pair: $0.pair) })
    }

    /// Judges each of `rows`.
    func judge(_ rows: [TrainingRow]) throws -> [Judgement] {
        try encoder.logits(of: rows, adapter: adapter).map { outputs in
            guard task.kind == .classification else {
                return Judgement(label: nil, scores: outputs.map(Double.init))
            }
            let top = Double(outputs.max() ?? 0)
            let weights = outputs.map { exp(Double($0) - top) }
            let sum = weights.reduce(0, +)
            return Judgement(
                label: task.labels[SequenceTask.largest(outputs)], scores: weights.map { $0 / sum })
        }
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

extension SequenceTask {
    /// What the adapter at `path` says of its task: in task.json of a folder, in a bundle's manifest.
    init?(ofAdapter path: String, _ adapter: Adapter?) throws {
        if let training = adapter?.manifest?.training {
            guard let task = SequenceTask(training) else { return nil }
            self = task
            return
        }
        let file = "\(path)/\(Self.fileName)"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        guard let task = SequenceTask(try JSON(contentsOf: file)) else {
            throw LorikeetError(.malformed, file, "no task and labels")
        }
        self = task
    }
}
