public import LorikeetRuntime

extension ComparisonResults {
    /// What report.json holds: what all runs have in common, and each method with its rates, the best of them,
    /// and its steps to the baseline's loss.
    public var json: JSON {
        var configuration = JSON.Object()
        for (flag, value) in self.configuration.values { configuration[flag] = .string(value) }
        return [
            "configuration": .object(configuration), "baseline": .string(baseline.rawValue),
            "compared_by": .string(loss.key), "smoothed_over": .int(smoothing.count),
            "methods": .array(methods.map(json)),
        ]
    }

    private func json(_ method: Method) -> JSON {
        [
            "method": .string(method.name.rawValue),
            "best_learning_rate": number(method.best?.learningRate),
            "steps_to_baseline_loss": .array(
                stepsToBaseline(method).map { $0.map { .int($0) } ?? .null }),
            "steps_saved": number(stepsSaved(method)),
            "learning_rates": .array(method.rates.map(json)),
        ]
    }

    private func json(_ rate: Rate) -> JSON {
        var scores = JSON.Object()
        for name in scoreNames {
            scores[name] = json(rate.spread { $0.record.scores[name]?.value })
        }
        return [
            "learning_rate": .double(rate.learningRate), "final_loss": json(rate.finalLoss),
            "step_seconds": json(rate.spread(\.stepSeconds)),
            "peak_memory_bytes": json(rate.spread { $0.record.peakMemoryBytes.map(Double.init) }),
            "scores": .object(scores),
            "runs": .array(
                rate.runs.map { run in
                    [
                        "seed": .string("\(run.plan.seed)"), "folder": .string(run.plan.path),
                        "final_loss": number(run.finalLoss(loss)),
                        "failure": run.record.failure.map { .string($0) } ?? .null,
                    ]
                }),
        ]
    }

    private func json(_ spread: Spread?) -> JSON {
        guard let spread else { return .null }
        return [
            "mean": .double(spread.mean), "low": .double(spread.low), "high": .double(spread.high),
            "standard_deviation": number(spread.deviation),
        ]
    }

    private func number(_ value: Double?) -> JSON { value.map { .double($0) } ?? .null }
}
