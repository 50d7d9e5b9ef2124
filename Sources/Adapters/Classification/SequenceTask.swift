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

    /// The index of the largest output; the first of several.
    public static func largest(_ outputs: [Float]) -> Int {
        outputs.indices.max { outputs[$0] < outputs[$1] || (outputs[$0] == outputs[$1] && $0 > $1) }
            ?? 0
    }
}
