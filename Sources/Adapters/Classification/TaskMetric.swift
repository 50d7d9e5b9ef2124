#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// How well predictions of a task agree with its targets; more is better.
public enum TaskMetric: String, CaseIterable, Sendable, Codable {
    /// The share of rows with the right class.
    case accuracy
    /// The harmonic mean of precision and recall: of class 1 where there are two, else the mean over the classes
    /// that occur (scikit-learn's `binary` and `macro`).
    case f1
    /// Matthews' correlation, for any number of classes (Gorodkin 2004).
    case matthews
    /// Pearson's correlation of two numbers.
    case pearson
    /// Spearman's: Pearson's of the ranks, equal numbers sharing their mean rank.
    case spearman

    /// Those of classes, or of numbers.
    public static func all(of kind: SequenceTask.Kind) -> [TaskMetric] {
        kind == .classification ? [.accuracy, .f1, .matthews] : [.pearson, .spearman]
    }

    /// The value for predicted classes; `count` is how many there are.
    ///
    /// A correlation with a constant is 0, as scikit-learn has it.
    public func value(_ predicted: [Int], _ expected: [Int], classes count: Int) -> Double {
        precondition(predicted.count == expected.count && !expected.isEmpty, "no predictions")
        let confusion = Confusion(predicted, expected, classes: count)
        switch self {
        case .accuracy: return Double(confusion.right) / Double(expected.count)
        case .f1:
            if count == 2 { return confusion.f1(of: 1) }
            let occurring = (0..<count).filter {
                confusion.predicted[$0] + confusion.expected[$0] > 0
            }
            return occurring.reduce(0) { $0 + confusion.f1(of: $1) } / Double(occurring.count)
        case .matthews: return confusion.matthews
        case .pearson, .spearman:
            return value(predicted.map(Double.init), expected.map(Double.init))
        }
    }

    /// The value for predicted numbers; NaN where one side is constant.
    public func value(_ predicted: [Double], _ expected: [Double]) -> Double {
        precondition(predicted.count == expected.count && !expected.isEmpty, "no predictions")
        return self == .spearman
            ? Self.correlation(Self.ranks(predicted), Self.ranks(expected))
            : Self.correlation(predicted, expected)
    }

    private static func correlation(_ x: [Double], _ y: [Double]) -> Double {
        let n = Double(x.count)
        let (meanX, meanY) = (x.reduce(0, +) / n, y.reduce(0, +) / n)
        var (xy, xx, yy) = (0.0, 0.0, 0.0)
        for (x, y) in zip(x, y) {
            xy += (x - meanX) * (y - meanY)
            xx += (x - meanX) * (x - meanX)
            yy += (y - meanY) * (y - meanY)
        }
        // Roots first: the product of two small sums may be 0.
        return xx > 0 && yy > 0 ? xy / (xx.squareRoot() * yy.squareRoot()) : .nan
    }

    private static func ranks(_ values: [Double]) -> [Double] {
        let order = values.indices.sorted { values[$0] < values[$1] }
        var ranks = [Double](repeating: 0, count: values.count)
        var begin = 0
        while begin < order.count {
            var end = begin + 1
            while end < order.count, values[order[end]] == values[order[begin]] { end += 1 }
            for place in begin..<end { ranks[order[place]] = Double(begin + end + 1) / 2 }
            begin = end
        }
        return ranks
    }
}

/// The value of a metric.
public struct MetricValue: Sendable, Equatable {
    /// Which.
    public var metric: TaskMetric
    /// Its value; NaN where it has none.
    public var value: Double

    /// Names a value.
    public init(metric: TaskMetric, value: Double) {
        self.metric = metric
        self.value = value
    }
}

/// How often each class is predicted, expected, and both.
private struct Confusion {
    var predicted: [Int]
    var expected: [Int]
    var both: [Int]
    var right: Int { both.reduce(0, +) }

    init(_ predictedClasses: [Int], _ expectedClasses: [Int], classes: Int) {
        let zeros = [Int](repeating: 0, count: classes)
        (predicted, expected, both) = (zeros, zeros, zeros)
        for (p, e) in zip(predictedClasses, expectedClasses) {
            predicted[p] += 1
            expected[e] += 1
            both[p] += p == e ? 1 : 0
        }
    }

    func f1(of index: Int) -> Double {
        let sum = predicted[index] + expected[index]
        return sum == 0 ? 0 : 2 * Double(both[index]) / Double(sum)
    }

    // (c s − Σ pₖ tₖ) / √((s² − Σ pₖ²) (s² − Σ tₖ²)), s rows of which c are right.
    var matthews: Double {
        let s = Double(predicted.reduce(0, +))
        func sum(_ x: [Int], _ y: [Int]) -> Double {
            zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        }
        let covariance = Double(right) * s - sum(predicted, expected)
        let (varianceP, varianceE) = (
            s * s - sum(predicted, predicted), s * s - sum(expected, expected)
        )
        guard varianceP > 0, varianceE > 0 else { return 0 }
        return covariance / (varianceP.squareRoot() * varianceE.squareRoot())
    }
}
