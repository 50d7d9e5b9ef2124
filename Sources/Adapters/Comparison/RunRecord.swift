import LorikeetRuntime

/// What a comparison keeps of a run beside its adapter and its metrics: result.json in the run's folder,
/// whose presence says that the run is done.
public struct RunRecord: Sendable, Equatable {
    /// A score with what it was measured on.
    struct Score: Sendable, Equatable {
        var value: Double
        var identity: String
    }

    /// The largest resident set while it was trained, in bytes; nil where the system does not tell it for
    /// a part of a process.
    public internal(set) var peakMemoryBytes: Int?
    /// Why the run ended before its last step: a loss that was not finite.
    public internal(set) var failure: String?
    /// Scores by their name.
    var scores: [String: Score] = [:]

    private static let fileName = "result.json"

    /// The record of a run.
    public init(peakMemoryBytes: Int?, failure: String? = nil) {
        self.peakMemoryBytes = peakMemoryBytes
        self.failure = failure
    }

    /// Reads the record in a run's folder.
    ///
    /// - Throws: `.notFound` for a run that is not done, `.malformed`.
    init(folder: String) throws {
        let path = "\(folder)/\(Self.fileName)"
        let json = try JSON(contentsOf: path)
        guard json.object != nil else {
            throw LorikeetError(.malformed, path, "no object", got: json.text())
        }
        peakMemoryBytes = json["peak_memory_bytes"]?.int
        failure = json["failure"]?.string
        for (name, score) in json["scores"]?.object ?? [:] {
            guard let value = score["value"]?.double, let identity = score["identity"]?.string
            else {
                throw LorikeetError(
                    .malformed, path, "the score \(name)", expected: "value and identity",
                    got: score.text())
            }
            scores[name] = Score(value: value, identity: identity)
        }
    }

    /// Writes the record into a run's folder.
    func write(into folder: String) throws {
        var scores = JSON.Object()
        for (name, score) in self.scores.sorted(by: { $0.key < $1.key }) {
            scores[name] = [
                "value": .double(score.value), "identity": .string(score.identity),
            ]
        }
        let json: JSON = [
            "peak_memory_bytes": peakMemoryBytes.map { .int($0) } ?? .null,
            "failure": failure.map { .string($0) } ?? .null, "scores": .object(scores),
        ]
        try AtomicOutput.write(json.data(pretty: true), to: "\(folder)/\(Self.fileName)")
    }
}
