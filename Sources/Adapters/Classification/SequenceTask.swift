import Foundation
import LorikeetQuant
public import LorikeetRuntime

/// What a sequence is judged as, and what the outputs are called.
public struct SequenceTask: Sendable, Equatable {
    /// The kinds.
    public enum Kind: String, CaseIterable, Sendable, Codable {
        /// One of several classes.
        case classification
        /// A number.
        case regression
    }

    /// Which it is.
    public var kind: Kind
    /// The names of the classes, in the order of the outputs; one name of no meaning for a number.
    public var labels: [String]

    /// Creates a task.
    public init(kind: Kind, labels: [String]) {
        self.kind = kind
        self.labels = kind == .regression ? ["LABEL_0"] : labels
    }

    /// The task of a checkpoint with a head of its own: regression where there is one output.
    public init(_ configuration: EncoderConfiguration) {
        self.init(
            kind: configuration.labels.count == 1 ? .regression : .classification,
            labels: configuration.labels)
    }

    /// The file beside an adapter's that tells the task: PEFT's own know nothing of labels.
    static let fileName = "task.json"

    /// What the file in an adapter's folder says; nil without one.
    ///
    /// - Throws: `.malformed` for one that tells no task.
    init?(besideAdapterIn folder: String) throws {
        let file = "\(folder)/\(Self.fileName)"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        guard let task = SequenceTask(try JSON(contentsOf: file)) else {
            throw LorikeetError(.malformed, file, "no task and labels")
        }
        self = task
    }

    /// What `adapter` judges over `encoder`, or without one the encoder itself; nil where neither has a
    /// classifier.
    public init?(_ adapter: Adapter?, over encoder: TextEncoder) {
        let bias =
            adapter?.tensor("classifier.bias") ?? encoder.model.headTensors["classifier.bias"]
        guard let outputs = bias?.count else { return nil }
        let stated = adapter?.task ?? SequenceTask(encoder.model.configuration)
        // An adapter of PEFT's says nothing of labels: numbers, as transformers has them.
        self =
            stated.labels.count == outputs
            ? stated
            : SequenceTask(
                kind: outputs == 1 ? .regression : .classification,
                labels: (0..<outputs).map { "LABEL_\($0)" })
    }

    /// The object of that file, also in a bundle's manifest.
    public var json: JSON {
        ["task": .string(kind.rawValue), "labels": .array(labels.map { .string($0) })]
    }

    /// Reads `json`; nil where it tells no task.
    public init?(_ json: JSON) {
        guard let kind = json["task"]?.string.flatMap(Kind.init),
            let labels = json["labels"]?.array?.map(\.string), !labels.isEmpty,
            labels.allSatisfy({ $0 != nil })
        else { return nil }
        self.init(kind: kind, labels: labels.compactMap(\.self))
    }

    /// The value of `metric` for the outputs of a head.
    ///
    /// - outputs: logits of the classes, or the one number, a row each.
    /// - targets: what was expected.
    func value(
        of metric: TaskMetric, outputs: [[Float]], targets: [TrainingRow.Target]
    ) -> Double {
        switch kind {
        case .classification:
            let expected = targets.map { target -> Int in
                if case .label(let label) = target { label } else { 0 }
            }
            return metric.value(outputs.map(Self.largest), expected, classes: labels.count)
        case .regression:
            let expected = targets.map { target -> Double in
                if case .value(let value) = target { Double(value) } else { 0 }
            }
            return metric.value(outputs.map { Double($0[0]) }, expected)
        }
    }

    /// The values of all its metrics.
    public func scores(outputs: [[Float]], targets: [TrainingRow.Target]) -> [MetricValue] {
        TaskMetric.all(of: kind).map {
            MetricValue(metric: $0, value: value(of: $0, outputs: outputs, targets: targets))
        }
    }

    /// What a text with these outputs of a head is judged as.
    ///
    /// - outputs: logits of the classes, or the one number.
    public func judgement(of outputs: [Float]) -> Judgement {
        guard kind == .classification else {
            return Judgement(label: nil, scores: outputs.map(Double.init))
        }
        let top = Double(outputs.max() ?? 0)
        let weights = outputs.map { exp(Double($0) - top) }
        let sum = weights.reduce(0, +)
        return Judgement(label: labels[Self.largest(outputs)], scores: weights.map { $0 / sum })
    }

    /// What a text was judged as.
    public struct Judgement: Sendable, Equatable {
        /// The likeliest class; nil for a number.
        public var label: String?
        /// The probability of each class in the order of the task's labels; the number itself for a number.
        public var scores: [Double]
    }

    /// The index of the largest output; the first of several.
    public static func largest(_ outputs: [Float]) -> Int {
        outputs.indices.max { outputs[$0] < outputs[$1] || (outputs[$0] == outputs[$1] && $0 > $1) }
            ?? 0
    }
}
