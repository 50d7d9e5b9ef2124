public import LorikeetRuntime

extension FineTuning {
    /// What a run would do.
    public struct Preview: Sendable {
        /// What there is to learn from, and the steps.
        public var data: DataReport
        /// The peak of memory that is planned for, in bytes.
        public var predictedPeakMemoryBytes: Int
        /// How many numbers would be trained.
        public var trainableParameters: Int
        /// A's learning rate at steps from the first to the last, at most a hundred of them.
        public var learningRates: [(step: Int, rate: Double)]
    }

    /// What `run(_:data:output:replace:note:progress:)` would do with the same arguments; writes nothing.
    ///
    /// - Throws: what `run` would before its first step, but for what lies in checkpoints.
    public func preview(
        _ model: LanguageModel, data: String, output: String, replace: Bool
    ) throws -> Preview {
        let preparation = try prepare(model, data: data, output: output, replace: replace)
        return Preview(
            preparation.trainer, preparation.adapter, data: preparation.report,
            plan: preparation.plan)
    }
}

extension FineTuning.Preview {
    /// What `trainer` would do with `adapter`.
    init(_ trainer: Trainer, _ adapter: TrainableAdapter, data: DataReport, plan: MemoryPlan) {
        let count = min(trainer.totalSteps, 100)
        let steps = (0..<count).map { $0 * (trainer.totalSteps - 1) / max(1, count - 1) }
        self.init(
            data: data, predictedPeakMemoryBytes: plan.peak,
            trainableParameters: adapter.parameterCount,
            learningRates: steps.map { ($0 + 1, trainer.learningRate(at: $0)) })
    }
}
