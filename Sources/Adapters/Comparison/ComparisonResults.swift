/// What a comparison found: the runs, and each method at its best learning rate.
///
/// A method's best learning rate has the lowest mean of the runs' last losses, as `loss` says which, among the rates at
/// which no run failed.
public struct ComparisonResults: Sendable {
    /// One run with what it left.
    public struct Run: Sendable {
        /// What was asked of it.
        public let plan: Comparison.Run
        /// Its peak memory, its scores, or why it failed.
        public let record: RunRecord
        /// Its steps.
        public let metrics: RunMetrics

        /// A run that is done.
        public init(plan: Comparison.Run, record: RunRecord, metrics: RunMetrics) {
            self.plan = plan
            self.record = record
            self.metrics = metrics
        }
    }

    /// A method at one learning rate.
    public struct Rate: Sendable {
        /// The peak learning rate.
        public let learningRate: Double
        /// A run a seed.
        public let runs: [Run]
        /// The last loss of the runs; nil where one failed.
        public let finalLoss: Spread?
    }

    /// A method at all learning rates.
    public struct Method: Sendable {
        /// The method.
        public let name: MethodName
        /// In the order that they were given in.
        public let rates: [Rate]

        /// The rate with the lowest final loss; nil where at every rate a run failed.
        public var best: Rate? {
            rates.filter { $0.finalLoss != nil }
                .min { $0.finalLoss?.mean ?? .nan < $1.finalLoss?.mean ?? .nan }
        }
    }

    /// The methods in the order that they were given in.
    public let methods: [Method]
    /// What the others are set beside: LoRA, or where it is not compared, the first method.
    public let baseline: MethodName
    /// How curves are smoothed.
    public let smoothing: Smoothing
    /// What runs are compared by.
    public let loss: ComparedLoss
    /// What was asked of every adapter beside its loss.
    public let scoreNames: [String]
    /// What all runs have in common, by flag.
    let configuration: RunIdentity

    /// What follows from `runs`.
    ///
    /// - Parameters:
    ///   - runs: of each method and rate, a run a seed.
    ///   - methods: at least one; in the order of the report.
    ///   - smoothing: how curves are smoothed; nil for over a twentieth of the longest run.
    ///   - scoreNames: what was asked of every adapter beside its loss.
    ///   - configuration: what all runs have in common.
    public init(
        runs: [Run], methods: [MethodName], smoothing: Smoothing?, scoreNames: [String],
        configuration: RunIdentity
    ) {
        precondition(!methods.isEmpty, "a comparison of nothing")
        let steps = runs.map { $0.metrics.values("loss").count }.max() ?? 1
        let smoothing = smoothing ?? Smoothing(ofRun: steps)
        self.smoothing = smoothing
        let loss = ComparedLoss(
            of: runs.filter { $0.record.failure == nil }.map(\.metrics), smoothing: smoothing)
        self.loss = loss
        self.scoreNames = scoreNames
        self.configuration = configuration
        baseline = methods.contains(.lora) ? .lora : methods[0]
        self.methods = methods.map { method in
            let ours = runs.filter { $0.plan.method == method }
            var rates: [Double] = []
            for run in ours where !rates.contains(run.plan.learningRate) {
                rates.append(run.plan.learningRate)
            }
            return Method(
                name: method,
                rates: rates.map { rate in
                    let runs = ours.filter { $0.plan.learningRate == rate }
                    let losses = runs.compactMap { $0.finalLoss(loss) }
                    return Rate(
                        learningRate: rate, runs: runs,
                        finalLoss: losses.count == runs.count ? Spread(losses) : nil)
                })
        }
    }

    /// The baseline's runs at its best rate.
    var baselineRuns: [Run] { methods.first { $0.name == baseline }?.best?.runs ?? [] }

    // MARK: Steps to the baseline's loss

    /// The steps after which each run of `method`, at its best rate, had the loss that the baseline's run of the same
    /// seed ended with; nil for a run that did not come to it.
    public func stepsToBaseline(_ method: Method) -> [Int?] {
        (method.best?.runs ?? []).map { run in
            guard let other = baselineRuns.first(where: { $0.plan.seed == run.plan.seed }),
                let target = other.finalLoss(loss)
            else { return nil }
            return loss.points(of: run.metrics).dropFirst(loss.firstBelieved)
                .first { $0.y <= target }.map { Int($0.x) }
        }
    }

    /// By which part of them the steps of `method` to the baseline's loss are fewer than the baseline's own, on
    /// the mean; nil where a run did not come to it.
    public func stepsSaved(_ method: Method) -> Double? {
        guard let own = methods.first(where: { $0.name == baseline }),
            let ours = meanSteps(stepsToBaseline(method)),
            let theirs = meanSteps(stepsToBaseline(own))
        else { return nil }
        return 1 - ours / theirs
    }

    private func meanSteps(_ steps: [Int?]) -> Double? {
        let reached = steps.compactMap { $0 }
        guard !reached.isEmpty, reached.count == steps.count else { return nil }
        return Double(reached.reduce(0, +)) / Double(reached.count)
    }
}

extension ComparisonResults.Run {
    /// The last loss; nil for a run that failed.
    func finalLoss(_ loss: ComparedLoss) -> Double? {
        guard record.failure == nil, let last = loss.points(of: metrics).last, last.y.isFinite
        else { return nil }
        return last.y
    }

    /// The median duration of a step, in seconds.
    var stepSeconds: Double? {
        let durations = zip(metrics.values("tokens"), metrics.values("tokens_per_second"))
            .map { $0 / $1 }.filter(\.isFinite).sorted()
        return durations.isEmpty ? nil : durations[durations.count / 2]
    }
}

extension ComparisonResults.Rate {
    /// The spread over the runs of what `value` says of each; nil where it says nothing of one.
    public func spread(_ value: (ComparisonResults.Run) -> Double?) -> Spread? {
        let values = runs.compactMap(value)
        return values.count == runs.count ? Spread(values) : nil
    }
}
