import Foundation
import LorikeetRuntime

/// A run's metrics, read back from metrics.jsonl.
///
/// A row is an object with a `step` and any number of values; a row of training has a `loss`, and there may be others,
/// as of a validation. A value of null is one that was not finite.
public struct RunMetrics: Sendable {
    /// What a run's progress is counted in.
    public enum Abscissa: String, CaseIterable, Sendable {
        /// Optimizer steps.
        case steps
        /// Seconds of training.
        case seconds
        /// Tokens seen.
        case tokens
    }

    private struct Row {
        var step: Double
        var seconds: Double
        var tokens: Double
        var values: [String: Double]
    }

    /// The file.
    public let source: String
    private let rows: [Row]

    /// Reads the metrics of a run: its folder, or the file itself.
    ///
    /// - Throws: `.notFound`; `.malformed` naming the line that is no row, or whose step goes back.
    public init(path: String) throws {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        source = exists && isFolder.boolValue ? "\(path)/metrics.jsonl" : path
        let file = try MappedFile(path: source)
        // Copied: a run may still be writing.
        let bytes = withExtendedLifetime(file) { Array(file.bytes) }
        var rows: [Row] = []
        var (trained, seconds, tokens) = (0, 0.0, 0.0)
        let lines = bytes.split(separator: 0x0A, omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            let place = "\(source), line \(index + 1)"
            let json = try line.withUnsafeBytes { try JSON(parsing: $0, source: place) }
            let (step, values) = try Self.row(json, place)
            // A validation comes after the step that it follows.
            let least = values["loss"] == nil ? trained : trained + 1
            guard step >= least else {
                throw LorikeetError(
                    .malformed, place, "the step goes back", expected: "\(least) or more",
                    got: "\(step)")
            }
            trained = step
            if let value = values["seconds"], value.isFinite { seconds = value }
            if let value = values["tokens"], value.isFinite { tokens += value }
            rows.append(
                Row(step: Double(step), seconds: seconds, tokens: tokens, values: values))
        }
        guard !rows.isEmpty else {
            throw LorikeetError(.malformed, source, "there are no rows in it")
        }
        self.rows = rows
    }

    private static func row(_ json: JSON, _ place: String) throws -> (Int, [String: Double]) {
        guard let members = json.object else {
            throw LorikeetError(.malformed, place, "no object", got: json.text())
        }
        guard let step = members["step"]?.int, (1...1_000_000_000).contains(step) else {
            throw LorikeetError(
                .malformed, place, "the key step", expected: "1 to 1000000000",
                got: members["step"]?.text() ?? "nothing")
        }
        var values: [String: Double] = [:]
        for (key, value) in members where key != "step" {
            if value.isNull {
                values[key] = .nan
            } else if let number = value.double {
                values[key] = number
            }
        }
        return (step, values)
    }

    /// The values of `key` over the run; none where no row has it.
    public func points(_ key: String, over abscissa: Abscissa = .steps) -> [ChartSeries.Point] {
        rows.compactMap { row in
            row.values[key].map {
                ChartSeries.Point(
                    abscissa == .steps
                        ? row.step : abscissa == .seconds ? row.seconds : row.tokens, $0)
            }
        }
    }

    /// The values of `key`, a row each.
    public func values(_ key: String) -> [Double] { points(key).map(\.y) }

    /// The names of all values, sorted.
    public var keys: [String] { Set(rows.flatMap(\.values.keys)).sorted() }
}
