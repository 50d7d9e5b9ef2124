import Foundation
public import LorikeetRuntime

extension Comparison {
    /// Trains what is not trained yet, scores the adapters and writes report.html and report.json.
    ///
    /// - Parameters:
    ///   - model: the base, the same for all runs.
    ///   - data: a JSONL file, as `TrainingData` reads it.
    ///   - output: the comparison's folder; one that is there goes on, if it is of the same comparison but for
    ///     methods, rates and seeds.
    ///   - replace: whether a folder that is there is begun anew instead.
    ///   - scores: what is asked of every adapter beside its loss.
    ///   - note: told in a line of runs that are done already, and of those that failed.
    ///   - progress: called after each step; may stop the comparison.
    /// - Returns: what the report shows.
    /// - Throws: `LorikeetError` for bad data, options out of range, a folder of another comparison;
    ///   `Interruption` when `progress` stopped it, with the run that went on saved.
    @discardableResult
    public func run(
        _ model: LanguageModel, data: String, output: String, replace: Bool = false,
        scores: [any AdapterScore] = [], note: (String) -> Void = { _ in },
        progress: (Progress) throws -> Trainer.Disposition = { _ in .proceed }
    ) throws -> ComparisonResults {
        let base = FineTuning(options: options.fineTuning)
        let rows = try base.read(model, data: data)
        let identity = try openFolder(output, replace: replace, for: model, data: rows)
        let scores = heldOutLoss(rows) + scores
        var results: [ComparisonResults.Run] = []
        for run in runs {
            let folder = "\(output)/\(run.path)"
            var record: RunRecord
            if let known = try? RunRecord(folder: folder) {
                record = known
            } else {
                do {
                    record = try train(run, model, data: data, folder: folder, note: note) { step in
                        try progress(Progress(run: run, finishedCount: results.count, step: step))
                    }
                } catch is FineTuning.Interruption {
                    throw Interruption(finishedCount: results.count)
                }
            }
            if record.failure == nil {
                try score(&record, in: folder, by: scores, over: model)
            }
            results.append(
                ComparisonResults.Run(
                    plan: run, record: record, metrics: try RunMetrics(path: folder)))
        }
        let summary = ComparisonResults(
            runs: results, methods: options.methods, smoothing: options.smoothing,
            scoreNames: scores.map(\.name), configuration: identity)
        try AtomicOutput.write(summary.json.data(pretty: true), to: "\(output)/report.json")
        try AtomicOutput.write(
            Array(ComparisonReport(results: summary).html.utf8), to: "\(output)/report.html")
        return summary
    }

    /// The loss on the rows that are held out, if there are any.
    private func heldOutLoss(_ data: TrainingData) -> [any AdapterScore] {
        guard let rows = data.validation else { return [] }
        let identity = "\(data.validationDigest ?? data.digest) \(options.fineTuning.maximumLength)"
        return [
            ValidationLoss(
                identity: identity, rows: rows,
                batchSize: options.fineTuning.training.batchSize)
        ]
    }

    /// Opens or creates the comparison's folder.
    ///
    /// - Returns: what all runs have in common.
    private func openFolder(
        _ output: String, replace: Bool, for model: LanguageModel, data: TrainingData
    ) throws -> RunIdentity {
        let base = FineTuning(options: options.fineTuning)
        var stated = AdapterBundle.Options()
        try stated.state(model)
        let identity =
            try base
            .identity(
                over: stated, modules: model.model.configuration.modules, data: data,
                initialAdapter: base.initialAdapter(over: model), compute: model.compute
            )
            .without(["--method", "--learning-rate", "--seed"])
        let place = "\(output)/comparison.json"
        let files = FileManager.default
        // A folder that is no comparison is not removed, whatever it is.
        if replace, files.fileExists(atPath: place) { try? files.removeItem(atPath: output) }
        if files.fileExists(atPath: output) {
            guard let known = try? JSON(contentsOf: place) else {
                throw LorikeetError(
                    .exists, output, "the output exists already, and is no comparison",
                    advice: "Name another output.")
            }
            guard let other = RunIdentity(known) else {
                throw LorikeetError(
                    .malformed, place, "the comparison", expected: "strings by flag")
            }
            try identity.require(other, at: output)
            return identity
        }
        do {
            try files.createDirectory(atPath: output, withIntermediateDirectories: true)
        } catch {
            throw LorikeetError(
                .io, output, "cannot create the folder: \(error.localizedDescription)")
        }
        try AtomicOutput.write(identity.json.data(pretty: true), to: place)
        return identity
    }

    /// Trains one run; one whose loss leaves the finite numbers is a result too.
    private func train(
        _ run: Run, _ model: LanguageModel, data: String, folder: String, note: (String) -> Void,
        progress: (StepMetrics) throws -> Trainer.Disposition
    ) throws -> RunRecord {
        var steps: [StepMetrics] = []
        let isMeasured = resetPeakMemory()
        do {
            _ = try fineTuning(run).run(
                model, data: data, output: folder, replace: true, note: { _ in }
            ) { step in
                steps.append(step)
                return try progress(step)
            }
        } catch let error as LorikeetError where error.isDivergence && !steps.isEmpty {
            note("\(run.path): \(error)")
            let record = RunRecord(
                peakMemoryBytes: isMeasured ? peakMemoryBytes() : nil, failure: error.problem)
            try AtomicOutput.folder(at: folder, replace: true) { folder in
                let lines = steps.map { $0.json.text() + "\n" }.joined()
                try AtomicOutput.write(Array(lines.utf8), to: "\(folder)/metrics.jsonl")
                try record.write(into: folder)
            }
            return record
        }
        let record = RunRecord(peakMemoryBytes: isMeasured ? peakMemoryBytes() : nil)
        try record.write(into: folder)
        return record
    }

    private func score(
        _ record: inout RunRecord, in folder: String, by scores: [any AdapterScore],
        over model: LanguageModel
    ) throws {
        let missing = scores.filter { record.scores[$0.name]?.identity != $0.identity }
        guard !missing.isEmpty else { return }
        let adapter = try Adapters.load(folder, over: model)
        for score in missing {
            record.scores[score.name] = RunRecord.Score(
                value: try score(adapter, over: model), identity: score.identity)
        }
        try record.write(into: folder)
    }
}

extension LorikeetError {
    /// Whether it is the trainer's, of a loss or a gradient that is not finite.
    fileprivate var isDivergence: Bool { code == .invalidArgument && subject == "training" }
}
