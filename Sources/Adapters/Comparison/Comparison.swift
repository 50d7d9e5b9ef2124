import LorikeetRuntime

/// Methods side by side: each trained at each learning rate from each seed, all else the same.
///
/// A seed decides the start and the order of rows, the same for every method, so two runs of a seed differ by
/// their method and rate alone. The runs lie in folders of their own, `lora/lr-0.0001/seed-0`, each an
/// output of `FineTuning`; a comparison that was cut short goes on with the runs that are not there yet.
///
/// ```swift
/// var options = Comparison.Options(methods: [.lora, .reflora])
/// options.learningRates = [1e-4, 3e-4, 1e-3]
/// options.fineTuning.training.length = .steps(500)
/// try Comparison(options).run(model, data: "rows.jsonl", output: "comparison")
/// ```
public struct Comparison: Sendable {
    /// What is compared.
    public struct Options: Sendable {
        /// The methods, in the order of the report.
        public var methods: [MethodName]
        /// The learning rates that every method is trained at; empty for each method's default.
        public var learningRates: [Double] = []
        /// How many seeds, from that of `fineTuning` on.
        public var seedCount = 3
        /// How curves are smoothed; nil for over a twentieth of the run.
        public var smoothing: Smoothing?
        /// All else: the adapter's shape, the steps, the data's order.
        ///
        /// Its `checkpoints` say when the current run is saved; nil for when it is stopped.
        public var fineTuning = FineTuning.Options()

        /// A comparison of `methods`.
        public init(methods: [MethodName]) { self.methods = methods }
    }

    /// One of the runs.
    public struct Run: Sendable, Hashable {
        /// The method.
        public var method: MethodName
        /// Its peak learning rate.
        public var learningRate: Double
        /// The seed of the start and of the rows' order.
        public var seed: UInt64

        /// A run.
        public init(method: MethodName, learningRate: Double, seed: UInt64) {
            self.method = method
            self.learningRate = learningRate
            self.seed = seed
        }

        /// The run's folder within the comparison's.
        public var path: String { "\(method.rawValue)/lr-\(learningRate)/seed-\(seed)" }
    }

    /// How far a comparison is.
    public struct Progress {
        /// The run that goes on.
        public var run: Run
        /// How many are done.
        public var finishedCount: Int
        /// Its last step.
        public var step: StepMetrics
    }

    /// A comparison was stopped before its end; what is done is kept.
    public struct Interruption: Error {
        /// How many runs are done.
        public var finishedCount: Int
    }

    /// What is compared.
    public let options: Options
    /// The runs in the order in which they are done: a seed of all methods and rates before the next
    /// seed, so that what is there when a comparison is cut short can be compared.
    public let runs: [Run]

    /// Plans a comparison.
    ///
    /// - Throws: `.invalidArgument` for no method, no seed, or something named twice.
    public init(_ options: Options) throws {
        func require(_ holds: Bool, _ flag: String, _ problem: String) throws {
            if !holds { throw LorikeetError(.invalidArgument, flag, problem) }
        }
        try require(!options.methods.isEmpty, "--methods", "there are none")
        try require(
            Set(options.methods).count == options.methods.count, "--methods", "one is named twice")
        try require(
            Set(options.learningRates).count == options.learningRates.count, "--learning-rates",
            "one is named twice")
        try require(
            options.learningRates.allSatisfy { $0 > 0 && $0.isFinite }, "--learning-rates",
            "expected numbers above 0")
        try require((1...1000).contains(options.seedCount), "--seeds", "expected 1 to 1000")
        self.options = options
        runs = (0..<options.seedCount).flatMap { index in
            options.methods.flatMap { method in
                (options.learningRates.isEmpty
                    ? [method.defaultLearningRate] : options.learningRates)
                    .map { rate in
                        let seed = options.fineTuning.training.seed &+ UInt64(index)
                        return Run(method: method, learningRate: rate, seed: seed)
                    }
            }
        }
    }

    /// The runs that are done in the comparison's folder at `output`.
    public func finishedRuns(in output: String) -> [Run] {
        runs.filter { (try? RunRecord(folder: "\(output)/\($0.path)")) != nil }
    }

    /// What `run` is trained by.
    func fineTuning(_ run: Run) -> FineTuning {
        var options = options.fineTuning
        options.training.method = run.method
        options.training.learningRate = run.learningRate
        options.training.seed = run.seed
        options.tensorBoard = options.tensorBoard.map { "\($0)/\(run.path)" }
        // Never due by itself, it is what a run that is stopped is saved in.
        var checkpoints = options.checkpoints ?? CheckpointFolder.Options(every: .max)
        checkpoints.resumes = true
        options.checkpoints = checkpoints
        return FineTuning(options: options)
    }
}
