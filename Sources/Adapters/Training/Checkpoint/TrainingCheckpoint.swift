import LorikeetRuntime

/// A run between two steps, as a folder that common programs read.
///
///     checkpoint.json      step, losses, tokens, seconds, and the run that it belongs to
///     state.safetensors    factors and moments
///     metrics.jsonl        the run's rows so far
///     SHA256SUMS           the digests of these three, as sha256sum writes and checks them
struct TrainingCheckpoint {
    private static let format = "lorikeet-checkpoint"
    private static let formatVersion = 2
    private static let manifestName = "checkpoint.json"
    private static let stateName = "state.safetensors"
    private static let metricsName = "metrics.jsonl"
    private static let digestsName = "SHA256SUMS"

    /// Steps, losses, tokens and seconds so far.
    let summary: Trainer.Summary
    /// The run.
    let identity: RunIdentity
    /// The content of metrics.jsonl.
    let metrics: [UInt8]
    private let folder: String

    /// Writes a checkpoint into `folder`, which is empty.
    static func write(
        _ state: TrainingState, metrics: [UInt8], of identity: RunIdentity, into folder: String
    ) throws {
        let summary = state.summary
        var manifest: JSON = [
            "format": .string(format), "format_version": .int(formatVersion),
            "step": .int(summary.steps), "first_loss": .double(summary.firstLoss),
            "last_loss": .double(summary.lastLoss), "tokens": .int(summary.tokens),
            "seconds": .double(summary.seconds), "run": identity.json,
        ]
        manifest["validation"] = summary.validation.map { validation in
            var json: JSON = [
                "last_loss": .double(validation.lastLoss),
                "best_loss": .double(validation.bestLoss),
                "best_step": .int(validation.bestStep),
                "evaluations_since_improvement": .int(validation.evaluationsSinceImprovement),
            ]
            json["last_score"] = validation.lastScore.map(JSON.double)
            json["best_score"] = validation.bestScore.map(JSON.double)
            return json
        }
        try AtomicOutput.write(manifest.data(pretty: true), to: "\(folder)/\(manifestName)")
        try state.writeTensors(to: "\(folder)/\(stateName)")
        try AtomicOutput.write(metrics, to: "\(folder)/\(metricsName)")
        try AtomicOutput.write(Array(digests(in: folder).utf8), to: "\(folder)/\(digestsName)")
    }

    private static func digests(in folder: String) throws -> String {
        try [manifestName, stateName, metricsName].map { name in
            let file = try MappedFile(path: "\(folder)/\(name)")
            return "\(Digest.sha256(of: file))  \(name)\n"
        }.joined()
    }

    /// Reads the checkpoint in `folder`, all but its tensors, whose digest is checked all the same.
    ///
    /// - Throws: `.notFound` or `.malformed` for one that is damaged, `.unsupported` for another version.
    init(_ folder: String) throws {
        let stated = try MappedFile(path: "\(folder)/\(Self.digestsName)")
        let digests = try Self.digests(in: folder)
        guard withExtendedLifetime(stated, { stated.bytes.elementsEqual(digests.utf8) }) else {
            throw LorikeetError(
                .malformed, folder, "a file has another digest than \(Self.digestsName) states",
                advice: "There, sha256sum -c \(Self.digestsName) tells which.")
        }
        let place = "\(folder)/\(Self.manifestName)"
        let json = try JSON(contentsOf: place)
        func value<Value>(
            _ key: String, _ expected: String, _ read: (JSON) -> Value?
        ) throws -> Value {
            guard let value = json[key].flatMap(read) else {
                throw LorikeetError(
                    .malformed, place, "the checkpoint's \(key)", expected: expected,
                    got: json[key]?.text() ?? "nothing")
            }
            return value
        }
        func number<Number: Comparable>(
            _ key: String, _ range: ClosedRange<Number>, _ read: (JSON) -> Number?
        ) throws -> Number {
            try value(key, "\(range.lowerBound) to \(range.upperBound)") { json in
                read(json).flatMap { range.contains($0) ? $0 : nil }
            }
        }
        let _: String = try value("format", Self.format) { json in
            json.string.flatMap { $0 == Self.format ? $0 : nil }
        }
        let version = try value("format_version", "a number", \.int)
        guard version == Self.formatVersion else {
            throw LorikeetError(
                .unsupported, place, "the checkpoint's format version",
                expected: "\(Self.formatVersion)", got: "\(version)",
                advice: "Resume with the Lorikeet that wrote it.")
        }
        // The bounds keep what a run goes on to count within 64 bits.
        var summary = Trainer.Summary()
        summary.steps = try number("step", 1...1_000_000_000, \.int)
        summary.firstLoss = try value("first_loss", "a number", \.double)
        summary.lastLoss = try value("last_loss", "a number", \.double)
        summary.tokens = try number("tokens", 0...(1 << 60), \.int)
        summary.seconds = try number("seconds", 0...1e12, \.double)
        summary.validation = try json["validation"].map { json in
            guard let record = ValidationRecord(json, upTo: summary.steps) else {
                throw LorikeetError(
                    .malformed, place, "the checkpoint's validation",
                    expected: "losses, a step and a count", got: json.text())
            }
            return record
        }
        self.summary = summary
        identity = try value("run", "strings by flag") { RunIdentity($0) }
        let metrics = try MappedFile(path: "\(folder)/\(Self.metricsName)")
        self.metrics = withExtendedLifetime(metrics) { Array(metrics.bytes) }
        self.folder = folder
    }

    /// Takes `state` to where this checkpoint was written.
    ///
    /// - Throws: `.malformed` for tensors that are not the adapter's; some factors may have changed then.
    func restore(_ state: inout TrainingState) throws {
        try state.readTensors(from: "\(folder)/\(Self.stateName)", stepCount: summary.steps)
        state.summary = summary
    }
}

extension ValidationRecord {
    /// What `json` says of the evaluations up to `step`; nil where it cannot be so.
    fileprivate init?(_ json: JSON, upTo step: Int) {
        guard let last = json["last_loss"]?.double, let best = json["best_loss"]?.double,
            let bestStep = json["best_step"]?.int, 1...step ~= bestStep,
            let count = json["evaluations_since_improvement"]?.int, 0...step ~= count
        else { return nil }
        self.init(loss: best, score: json["best_score"]?.double, step: bestStep)
        (lastLoss, evaluationsSinceImprovement) = (last, count)
        lastScore = json["last_score"]?.double
    }
}
