public import LorikeetRuntime

extension FineTuning {
    /// What a run would do.
    public struct Preview: Sendable {
        /// Rows to learn from.
        public var rows: Int
        /// Tokens in a pass over them.
        public var tokensPerEpoch: Int
        /// How many of these are targets.
        public var targetsPerEpoch: Int
        /// Tokens of the longest row.
        public var longestRow: Int
        /// Optimizer steps of the whole run.
        public var steps: Int
        /// Rows of a step.
        public var rowsPerStep: Int
        /// How many numbers would be trained.
        public var trainableParameters: Int
        /// A's learning rate at steps from the first to the last, at most a hundred of them.
        public var learningRates: [(step: Int, rate: Double)]
        /// What a user should know: rows cut or skipped.
        public var notes: [String]
    }

    /// What `run(_:data:output:replace:note:progress:)` would do with the same arguments; writes nothing.
    ///
    /// - Throws: what `run` would before its first step, but for what lies in checkpoints.
    public func preview(
        _ model: LanguageModel, data: String, output: String, replace: Bool
    ) throws -> Preview {
        let preparation = try prepare(model, data: data, output: output, replace: replace)
        let (rows, trainer) = (preparation.rows, preparation.trainer)
        let count = min(trainer.totalSteps, 100)
        let steps = (0..<count).map { $0 * (trainer.totalSteps - 1) / max(1, count - 1) }
        return Preview(
            rows: rows.rows.count,
            tokensPerEpoch: rows.rows.reduce(0) { $0 + $1.inputIDs.count },
            targetsPerEpoch: rows.rows.reduce(0) { $0 + $1.targetCount },
            longestRow: preparation.longestRow, steps: trainer.totalSteps,
            rowsPerStep: options.training.batchSize * options.training.accumulate,
            trainableParameters: preparation.adapter.parameterCount,
            learningRates: steps.map { ($0 + 1, trainer.learningRate(at: $0)) },
            notes: rows.notes)
    }
}
