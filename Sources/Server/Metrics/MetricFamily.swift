import Synchronization

/// A metric in Prometheus' text format: one name, a number or a histogram for each combination of labels.
final class MetricFamily: Sendable {
    /// What a family's numbers are.
    enum Kind: Sendable {
        /// A number that only grows.
        case counter
        /// A number of the moment.
        case gauge
        /// How many observations were at most each bound; the bounds ascend.
        case histogram([Double])
    }

    private struct Series {
        // A counter's or gauge's number, a histogram's sum
        var value = 0.0
        // Of a histogram: observations by bound, then those past the last
        var counts: [Int] = []
    }

    private let name: String
    private let help: String
    private let kind: Kind
    private let labels: [String]
    private let series = Mutex<[[String]: Series]>([:])

    /// An empty family; one without labels is written as 0 from the start.
    init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
        if labels.isEmpty { change([]) { _ in } }
    }

    /// Adds to a counter.
    func add(_ amount: Int = 1, _ values: String...) {
        change(values) { $0.value += Double(amount) }
    }

    /// Sets a gauge, or a counter that somebody else counts.
    func set(_ value: Double, _ values: String...) { change(values) { $0.value = value } }

    /// Sets a gauge of which nothing else is known.
    func replace(_ value: Double, _ values: String...) {
        series.withLock { $0 = [values: Series(value: value)] }
    }

    /// Adds an observation to a histogram.
    func observe(_ value: Double, _ values: String...) {
        guard case .histogram(let bounds) = kind else {
            preconditionFailure("\(name) is no histogram")
        }
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        change(values) { series in
            series.value += value
            series.counts[index] += 1
        }
    }

    private func change(_ values: [String], _ body: (inout Series) -> Void) {
        precondition(values.count == labels.count, "\(name) has the labels \(labels)")
        var fresh = Series()
        if case .histogram(let bounds) = kind {
            fresh.counts = Array(repeating: 0, count: bounds.count + 1)
        }
        series.withLock { body(&$0[values, default: fresh]) }
    }

    /// Appends the family's lines.
    func write(to text: inout String) {
        let series = series.withLock { $0 }
        guard !series.isEmpty else { return }
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.word)\n"
        for (values, one) in series.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            let pairs = zip(labels, values).map { "\($0)=\"\(Self.escaped($1))\"" }
            guard case .histogram(let bounds) = kind else {
                text += "\(name)\(Self.braced(pairs)) \(Self.number(one.value))\n"
                continue
            }
            var total = 0
            for (index, count) in one.counts.enumerated() {
                total += count
                let bound = index < bounds.count ? Self.number(bounds[index]) : "+Inf"
                text += "\(name)_bucket\(Self.braced(pairs + ["le=\"\(bound)\""])) \(total)\n"
            }
            text += "\(name)_sum\(Self.braced(pairs)) \(Self.number(one.value))\n"
            text += "\(name)_count\(Self.braced(pairs)) \(total)\n"
        }
    }

    private static func braced(_ pairs: [String]) -> String {
        pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}"
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map(String.init) ?? String(value)
    }

    private static func escaped(_ value: String) -> String {
        String(
            value.flatMap { character -> [Character] in
                switch character {
                case "\\": ["\\", "\\"]
                case "\"": ["\\", "\""]
                case "\n": ["\\", "n"]
                default: [character]
                }
            })
    }
}

extension MetricFamily.Kind {
    fileprivate var word: String {
        switch self {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        }
    }
}
