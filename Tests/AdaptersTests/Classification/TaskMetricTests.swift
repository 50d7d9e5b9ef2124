import Foundation
import LorikeetAdapters
import LorikeetRuntime
import Testing

@Suite struct `Metrics of a task` {
    // The same sums in fp64, in another order.
    private let tolerance = 1e-12

    private func recorded(_ key: String) throws -> [JSON] {
        let url = Bundle.module.bundleURL.appendingPathComponent("Resources/metrics.json")
        return try #require(try JSON(contentsOf: url.path)[key]?.array)
    }

    @Test func `are scikit-learn's for classes, two or more, and for constant predictions`() throws
    {
        for row in try recorded("classes") {
            let predicted = try #require(row["predicted"]?.array).compactMap(\.int)
            let expected = try #require(row["expected"]?.array).compactMap(\.int)
            let count = try #require(row["classes"]?.int)
            for metric in TaskMetric.all(of: .classification) {
                let value = metric.value(predicted, expected, classes: count)
                let reference = try #require(row[metric.rawValue]?.double)
                #expect(abs(value - reference) <= tolerance, "\(metric), \(count) classes")
            }
        }
    }

    @Test func `are SciPy's for numbers with ties`() throws {
        for row in try recorded("numbers") {
            let predicted = try #require(row["predicted"]?.array).compactMap(\.double)
            let expected = try #require(row["expected"]?.array).compactMap(\.double)
            for metric in TaskMetric.all(of: .regression) {
                let reference = try #require(row[metric.rawValue]?.double)
                #expect(abs(metric.value(predicted, expected) - reference) <= tolerance)
            }
        }
        #expect(TaskMetric.pearson.value([1, 1], [1, 2]).isNaN)
        #expect(TaskMetric.spearman.value([1, 2], [3, 3]).isNaN)
    }
}
